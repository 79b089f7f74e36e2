#include "sparknet/layers/batch_reindex.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningBatchReindex final : public Layer {
 public:
  void setup(LayerSetup& setup) override {
    const Shape& examples = setup.bottom()[0];
    examples_ = examples[0];
    row_ = examples.count(1);
    row_bytes_ = static_cast<std::size_t>(row_) * size_of(setup.dtype());
    indices_.resize(static_cast<std::size_t>(setup.bottom()[1].count()));
    setup.backward_reads(false, false);
    setup.no_gradient(1);
  }

  void forward(LayerIO& io) override {
    for (std::size_t i = 0; i < indices_.size(); ++i) {
      const double index = element(io.bottom(1), static_cast<Dim>(i));
      if (!(index >= 0 && index < static_cast<double>(examples_)) ||
          index != static_cast<double>(static_cast<Dim>(index)))
        throw BadInput(fmt::format("index {} is {} and there are {} examples", i, index, examples_));
      indices_[i] = static_cast<std::size_t>(index);
    }
    for (std::size_t i = 0; i < indices_.size(); ++i)
      io.backend().copy_rows(
          1,
          row_bytes_,
          io.bottom().raw() + indices_[i] * row_bytes_,
          row_bytes_,
          io.top().raw() + i * row_bytes_,
          row_bytes_);
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    std::byte* const diff = io.bottom_diff().raw();
    io.backend().map(io.dtype(), {.kind = kernels::MapKind::Constant}, io.bottom_diff().count(), diff, diff);
    for (std::size_t i = 0; i < indices_.size(); ++i)
      io.backend().axpy(io.dtype(), row_, 1, io.top_diff().raw() + i * row_bytes_, diff + indices_[i] * row_bytes_);
  }

 private:
  Dim examples_ = 0, row_ = 0;
  std::size_t row_bytes_ = 0;
  std::vector<std::size_t> indices_;  // of the last forward
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
