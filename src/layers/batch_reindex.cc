#include "sparknet/layers/batch_reindex.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningBatchReindex final : public Layer {
 public:
  void setup(LayerSetup& setup) override {
    examples_ = setup.bottom()[0][0];
    row_ = setup.bottom()[0].count(1);
    indices_ = setup.bottom()[1].count();
    setup.state(static_cast<std::size_t>(indices_) * sizeof(kernels::Index));
    setup.backward_reads(false, false);
    setup.no_gradient(1);
    setup.verdict();
  }

  void forward(LayerIO& io) override {
    io.backend().read_places(io.dtype(), indices_, examples_, io.bottom(1).raw(), places(io), io.verdict());
    io.backend().gather_rows(io.dtype(), indices_, row_, places(io), io.bottom().raw(), 0, io.top().raw());
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    io.backend()
        .scatter_rows(io.dtype(), indices_, row_, places(io), io.top_diff().raw(), examples_, io.bottom_diff().raw());
  }

  void refuse(LayerIO& io, std::int64_t bad) override {
    throw BadInput(
        fmt::format("index {} is {} and there are {} examples", bad, element(io, io.bottom(1), bad), examples_));
  }

 private:
  static kernels::Index* places(LayerIO& io) { return reinterpret_cast<kernels::Index*>(io.state()); }

  Dim examples_ = 0, row_ = 0, indices_ = 0;
};

}  // namespace

Shape BatchReindexLayer::infer(std::span<const Shape> in) const {
  require(!in[0].empty(), "input 0 has no axis of examples");
  require(in[1].size() == 1, "input 1 holds an index for each example of the top, [M], not {}", to_string(in[1]));
  Shape top = in[0];
  top[0] = in[1][0];
  return top;
}

std::unique_ptr<Layer> BatchReindexLayer::make() const {
  return std::make_unique<RunningBatchReindex>();
}

}  // namespace sparknet
