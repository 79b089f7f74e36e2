#include "sparknet/layers/concat.h"

#include "src/layers/common.h"
#include "src/layers/move.h"

namespace sparknet {
namespace {

class RunningConcat final : public Layer {
 public:
  explicit RunningConcat(Dim axis) : axis_(axis) {}

  void setup(LayerSetup& setup) override {
    const auto row = [&](const Shape& shape) { return row_bytes(axis_, shape, setup); };
    rows_ = rows_before(axis_, setup.top()[0], setup);
    top_row_ = row(setup.top()[0]);
    for (const Shape& bottom : setup.bottom()) bottom_rows_.push_back(row(bottom));
    setup.backward_reads(false, false);
    setup.recomputes();
  }

  May may_be_bf16(std::size_t, std::size_t) const override { return May::WhereInputsAre; }
  May may_be_nhwc(std::size_t, std::size_t) const override {
    return is_channel_axis(axis_) ? May::WhereInputsAre : May::Never;
  }

  void forward(LayerIO& io) override {
    std::byte* top = io.top().raw();
    for (std::size_t i = 0; i < bottom_rows_.size(); ++i) {
      io.backend().copy_rows(rows_, bottom_rows_[i], io.bottom(i).raw(), bottom_rows_[i], top, top_row_);
      top += bottom_rows_[i];
    }
  }

  void backward(LayerIO& io) override {
    const std::byte* top = io.top_diff().raw();
    for (std::size_t i = 0; i < bottom_rows_.size(); ++i) {
      if (io.needs_bottom_diff(i))
        io.backend().copy_rows(rows_, bottom_rows_[i], top, top_row_, io.bottom_diff(i).raw(), bottom_rows_[i]);
      top += bottom_rows_[i];
    }
  }

 private:
  Dim axis_, rows_ = 0;
  std::size_t top_row_ = 0;  // in bytes, as bottom_rows_
  std::vector<std::size_t> bottom_rows_;
};

}  // namespace

Shape ConcatLayer::infer(std::span<const Shape> in) const {
  require(!in.empty(), "expects one or more inputs");
  const std::size_t axis = axis_of(options.axis, in[0]);
  Shape top = in[0];
  for (std::size_t i = 1; i < in.size(); ++i) {
    require(in[i].size() == top.size(), "input {} has {} dimensions and input 0 has {}", i, in[i].size(), top.size());
    for (std::size_t d = 0; d < top.size(); ++d)
      require(
          d == axis || in[i][d] == top[d],
          "inputs may differ along axis {} only: input {} is {} and input 0 is {}",
          axis,
          i,
          to_string(in[i]),
          to_string(in[0]));
    top[axis] += in[i][axis];
  }
  return top;
}

std::unique_ptr<Layer> ConcatLayer::make() const {
  return std::make_unique<RunningConcat>(options.axis);
}

}  // namespace sparknet
