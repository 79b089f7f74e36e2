#include "src/layers/map.h"

#include <cmath>

#include "src/layers/common.h"

namespace sparknet {
namespace {

using kernels::Map;
using kernels::MapKind;
using kernels::MapOperand;

class RunningMap final : public Layer {
 public:
  explicit RunningMap(const Map& map) : map_(map), operand_(kernels::slope_operand(map)) {}

  void setup(LayerSetup& setup) override {
    setup.backward_reads(operand_ == MapOperand::X, operand_ == MapOperand::Y);
    if (operand_ != MapOperand::X) setup.in_place();
    setup.recomputes();
  }

  May may_be_nhwc(std::size_t, std::size_t) const override { return May::WhereInputsAre; }

  void forward(LayerIO& io) override {
    io.backend().map(io.dtype(), map_, io.top().count(), io.bottom().raw(), io.top().raw());
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    require(map_.kind != MapKind::Step, "has no gradient, and a layer before it is to learn from one");
    const void* const operand = operand_ == MapOperand::X   ? io.bottom().raw()
                                : operand_ == MapOperand::Y ? io.top().raw()
                                                            : nullptr;
    io.backend()
        .map_backward(io.dtype(), map_, io.top_diff().count(), operand, io.top_diff().raw(), io.bottom_diff().raw());
  }

 private:
  Map map_;
  MapOperand operand_;
};

}  // namespace

std::unique_ptr<Layer> make_map(const Map& map) {
  return std::make_unique<RunningMap>(map);
}

double log_of_base(double base) {
  return base == -1 ? 1 : std::log(base);
}

void require_base(double base) {
  require(
      base == -1 || (base > 0 && std::isfinite(base)),
      "option .base must be positive and finite, or -1 for e, not {}",
      base);
}

}  // namespace sparknet
