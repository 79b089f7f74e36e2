#include "sparknet/layers/permute.h"

#include <algorithm>

#include "src/layers/common.h"
#include "src/layers/move.h"

namespace sparknet {
namespace {

/// The axis of the bottom that each axis of the top is.
std::vector<std::size_t> axes_of(const std::vector<Dim>& order, const Shape& bottom) {
  require(
      order.size() <= bottom.size(),
      "option .order names {} axes and its input has {} dimensions",
      order.size(),
      bottom.size());
  std::vector<std::size_t> axes;
  for (const Dim named : order) {
    const std::size_t axis = axis_of(named, bottom);
    require(std::count(axes.begin(), axes.end(), axis) == 0, "option .order names axis {} twice", axis);
    axes.push_back(axis);
  }
  for (std::size_t axis = 0; axis < bottom.size(); ++axis)
    if (std::count(axes.begin(), axes.end(), axis) == 0) axes.push_back(axis);
  return axes;
}

class RunningPermute final : public Layer {
 public:
  explicit RunningPermute(std::vector<Dim> order) : order_(std::move(order)) {}

  void setup(LayerSetup& setup) override {
    const Shape &bottom = setup.bottom()[0], &top = setup.top()[0];
    const Shape bottom_steps = steps_of(bottom), top_steps = steps_of(top);
    const std::vector<std::size_t> axes = axes_of(order_, bottom);
    bool moves = false;
    for (std::size_t d = 0; d < top.size(); ++d) {
      box_.add(top[d], bottom_steps[axes[d]], top_steps[d]);
      moves = moves || (top[d] > 1 && bottom_steps[axes[d]] != top_steps[d]);
    }
    setup.backward_reads(false, false);
    if (!moves) setup.in_place();
  }

  void forward(LayerIO& io) override {
    if (io.bottom().raw() == io.top().raw()) return;
    io.backend().copy_box(io.dtype(), box_, io.bottom().raw(), io.top().raw());
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff() || io.bottom_diff().raw() == io.top_diff().raw()) return;
    io.backend().copy_box(io.dtype(), box_.reversed(), io.top_diff().raw(), io.bottom_diff().raw());
  }

 private:
  std::vector<Dim> order_;
  kernels::Box box_;
};

}  // namespace

Shape PermuteLayer::infer(std::span<const Shape> in) const {
  Shape top = in[0];
  std::size_t d = 0;
  for (const std::size_t axis : axes_of(options.order, in[0])) top[d++] = in[0][axis];
  return top;
}

std::unique_ptr<Layer> PermuteLayer::make() const {
  return std::make_unique<RunningPermute>(options.order);
}

}  // namespace sparknet
