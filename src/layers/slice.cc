#include "sparknet/layers/slice.h"

#include "src/layers/common.h"
#include "src/layers/move.h"

namespace sparknet {
namespace {

class RunningSlice final : public Layer {
 public:
  explicit RunningSlice(Dim axis) : axis_(axis) {}

  void setup(LayerSetup& setup) override {
    const Shape& bottom = setup.bottom()[0];
    const auto row = [&](const Shape& shape) { return row_bytes(axis_, shape, setup); };
    rows_ = rows_before(axis_, bottom, setup);
    bottom_row_ = row(bottom);
    for (const Shape& top : setup.top()) top_rows_.push_back(row(top));
    setup.backward_reads(false, false);
    if (top_rows_.size() == 1) setup.in_place();
  }

  May may_be_bf16(std::size_t, std::size_t) const override { return May::WhereInputsAre; }
  May may_be_nhwc(std::size_t, std::size_t) const override {
    return is_channel_axis(axis_) ? May::WhereInputsAre : May::Never;
  }

  void forward(LayerIO& io) override {
    if (top_rows_.size() == 1) return copy_elements(io, io.bottom(), io.top());
    const std::byte* bottom = io.bottom().raw();
    for (std::size_t i = 0; i < top_rows_.size(); ++i) {
      io.backend().copy_rows(rows_, top_rows_[i], bottom, bottom_row_, io.top(i).raw(), top_rows_[i]);
      bottom += top_rows_[i];
    }
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    if (top_rows_.size() == 1) return copy_elements(io, io.top_diff(), io.bottom_diff());
    std::byte* bottom = io.bottom_diff().raw();
    for (std::size_t i = 0; i < top_rows_.size(); ++i) {
      io.backend().copy_rows(rows_, top_rows_[i], io.top_diff(i).raw(), top_rows_[i], bottom, bottom_row_);
      bottom += top_rows_[i];
    }
  }

 private:
  Dim axis_, rows_ = 0;
  std::size_t bottom_row_ = 0;  // in bytes, as top_rows_
  std::vector<std::size_t> top_rows_;
};

}  // namespace

std::vector<Shape> SliceLayer::infer(std::span<const Shape> in, std::size_t tops) const {
  const std::size_t axis = axis_of(options.axis, in[0]);
  const Dim size = in[0][axis], parts = static_cast<Dim>(tops);
  std::vector<Dim> ends = options.slice_point;
  if (ends.empty()) {
    require(
        size % parts == 0,
        "axis {} of its input is {} long, which cannot be cut into {} equal tops; option .slice_point says where to "
        "cut",
        axis,
        size,
        parts);
    for (Dim i = 1; i < parts; ++i) ends.push_back(i * (size / parts));
  } else {
    require(
        ends.size() + 1 == tops,
        "option .slice_point has {} points, which make {} tops, and the tops are {}",
        ends.size(),
        ends.size() + 1,
        tops);
    for (std::size_t i = 0; i < ends.size(); ++i)
      require(
          ends[i] > (i ? ends[i - 1] : 0) && ends[i] < size,
          "option .slice_point must rise between 0 and {}, the length of axis {}, and point {} is {}",
          size,
          axis,
          i,
          ends[i]);
  }
  ends.push_back(size);
  std::vector<Shape> shapes(tops, in[0]);
  for (std::size_t i = 0; i < tops; ++i) shapes[i][axis] = ends[i] - (i ? ends[i - 1] : 0);
  return shapes;
}

std::unique_ptr<Layer> SliceLayer::make() const {
  return std::make_unique<RunningSlice>(options.axis);
}

}  // namespace sparknet
