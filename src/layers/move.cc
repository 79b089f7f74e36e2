#include "src/layers/move.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningCopy final : public Layer {
 public:
  void setup(LayerSetup& setup) override {
    setup.backward_reads(false, false);
    setup.in_place();
  }
  May may_be_bf16(std::size_t, std::size_t) const override { return May::WhereInputsAre; }
  void forward(LayerIO& io) override { copy_elements(io, io.bottom(), io.top()); }
  void backward(LayerIO& io) override {
    if (io.needs_bottom_diff()) copy_elements(io, io.top_diff(), io.bottom_diff());
  }
};

}  // namespace

std::unique_ptr<Layer> make_copy() {
  return std::make_unique<RunningCopy>();
}

void copy_elements(LayerIO& io, const Tensor& from, Tensor& to) {
  if (from.raw() == to.raw()) return;
  io.backend().copy_rows(1, to.bytes(), from.raw(), to.bytes(), to.raw(), to.bytes());
}

static_assert(kernels::Box::kMaxRank >= static_cast<int>(Shape::max_rank));

Dim rows_before(Dim axis, const Shape& shape, const LayerSetup& setup) {
  return setup.nhwc() ? shape[0] * shape.count(2) : shape.count(0, axis_of(axis, shape));
}

std::size_t row_bytes(Dim axis, const Shape& shape, const LayerSetup& setup) {
  return static_cast<std::size_t>(setup.nhwc() ? shape[1] : shape.count(axis_of(axis, shape))) * size_of(setup.dtype());
}

bool is_channel_axis(Dim axis) {
  return axis == 1 || axis == -3;
}

Shape steps_of(const Shape& shape) {
  Shape steps = shape;
  for (std::size_t d = 0; d < shape.size(); ++d) steps[d] = shape.count(d + 1);
  return steps;
}

Shape make_shape(std::span<const Dim> dims) {
  require(
      dims.size() <= Shape::max_rank,
      "its top would have {} dimensions and may have at most {}",
      dims.size(),
      Shape::max_rank);
  return Shape(dims);
}

}  // namespace sparknet
