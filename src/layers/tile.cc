#include "sparknet/layers/tile.h"

#include "src/layers/common.h"
#include "src/layers/move.h"

namespace sparknet {
namespace {

class RunningTile final : public Layer {
 public:
  explicit RunningTile(const TileOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    const Shape& bottom = setup.bottom()[0];
    const std::size_t axis = axis_of(options_.axis, bottom);
    const Dim row = bottom.count(axis);
    box_.add(bottom.count(0, axis), row, options_.tiles * row);
    box_.add(options_.tiles, 0, row);
    box_.add(row, 1, 1);
    setup.backward_reads(false, false);
    if (options_.tiles == 1) setup.in_place();
  }

  void forward(LayerIO& io) override {
    if (options_.tiles == 1) return copy_elements(io, io.bottom(), io.top());
    io.backend().copy_box(io.dtype(), box_, io.bottom().raw(), io.top().raw());
  }
  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    if (options_.tiles == 1) return copy_elements(io, io.top_diff(), io.bottom_diff());
    io.backend().sum_box(io.dtype(), box_.reversed(), io.top_diff().raw(), io.bottom_diff().raw());
  }

 private:
  TileOptions options_;
  kernels::Box box_;
};

}  // namespace

Shape TileLayer::infer(std::span<const Shape> in) const {
  require(options.tiles != 0, "option .tiles is required");
  require(options.tiles > 0, "option .tiles must be positive, not {}", options.tiles);
  Shape top = in[0];
  Dim& size = top[axis_of(options.axis, top)];
  require(
      !__builtin_mul_overflow(size, options.tiles, &size),
      "option .tiles is {}, which is too much for its input",
      options.tiles);
  return top;
}

std::unique_ptr<Layer> TileLayer::make() const {
  return std::make_unique<RunningTile>(options);
}

}  // namespace sparknet
