#include "sparknet/layers/crop.h"

#include "src/layers/common.h"
#include "src/layers/move.h"

namespace sparknet {
namespace {

/// Where the top begins along an axis, of which `first` is the first that is cropped.
Dim offset_of(const CropOptions& options, std::size_t first, std::size_t axis) {
  if (axis < first || options.offset.empty()) return 0;
  return options.offset.size() == 1 ? options.offset[0] : options.offset[axis - first];
}

class RunningCrop final : public Layer {
 public:
  explicit RunningCrop(const CropOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    const Shape &bottom = setup.bottom()[0], &top = setup.top()[0];
    const Shape bottom_steps = steps_of(bottom), top_steps = steps_of(top);
    const std::size_t first = axis_of(options_.axis, bottom);
    item_ = size_of(setup.dtype());
    // The rest of the bottom: along each axis what lies before and behind the top, where along the axes before it it
    // lies beside the top.
    Shape size = bottom;
    Dim start = 0;
    const auto add_rest = [&](std::size_t axis, Dim begin, Dim end) {
      if (begin == end) return;
      Rest rest{start + begin * bottom_steps[axis], {}};
      for (std::size_t d = 0; d < size.size(); ++d) rest.box.add(d == axis ? end - begin : size[d], 0, bottom_steps[d]);
      rest_.push_back(rest);
    };
    for (std::size_t d = 0; d < bottom.size(); ++d) {
      const Dim offset = offset_of(options_, first, d);
      add_rest(d, 0, offset);
      add_rest(d, offset + top[d], bottom[d]);
      size[d] = top[d];
      start += offset * bottom_steps[d];
      box_.add(top[d], bottom_steps[d], top_steps[d]);
    }
    start_ = start;
    setup.backward_reads(false, false);
    setup.no_gradient(1);
    if (top == bottom) setup.in_place();
  }

  void forward(LayerIO& io) override {
    if (io.bottom().raw() == io.top().raw()) return;
    io.backend().copy_box(io.dtype(), box_, at(io.bottom().raw(), start_), io.top().raw());
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff() || io.bottom_diff().raw() == io.top_diff().raw()) return;
    std::byte* const diff = io.bottom_diff().raw();
    for (const Rest& rest : rest_) io.backend().fill_box(io.dtype(), rest.box, 0, at(diff, rest.start));
    io.backend().copy_box(io.dtype(), box_.reversed(), io.top_diff().raw(), at(diff, start_));
  }

 private:
  struct Rest {
    Dim start;
    kernels::Box box;
  };

  template <class Byte>
  Byte* at(Byte* data, Dim element) const {
    return data + static_cast<std::size_t>(element) * item_;
  }

  CropOptions options_;
  std::size_t item_ = 0;
  Dim start_ = 0;
  kernels::Box box_;
  std::vector<Rest> rest_;
};

}  // namespace

Shape CropLayer::infer(std::span<const Shape> in) const {
  const std::size_t first = axis_of(options.axis, in[0]), rank = in[0].size(), cropped = rank - first;
  require(
      in[1].size() >= rank,
      "input 1, which has the size to crop to, has {} dimensions and input 0 has {}",
      in[1].size(),
      rank);
  require(
      options.offset.size() <= 1 || options.offset.size() == cropped,
      "option .offset has {} numbers and takes one, or one for each of the {} axes from axis {} on",
      options.offset.size(),
      cropped,
      first);
  Shape top = in[0];
  for (std::size_t d = first; d < rank; ++d) {
    const Dim offset = offset_of(options, first, d);
    require(offset >= 0, "option .offset must not be negative, not {}", offset);
    require(
        offset <= in[0][d] && in[1][d] <= in[0][d] - offset,
        "axis {} of input 0 is {} long, which does not hold {} from {} on",
        d,
        in[0][d],
        in[1][d],
        offset);
    top[d] = in[1][d];
  }
  return top;
}

std::unique_ptr<Layer> CropLayer::make() const {
  return std::make_unique<RunningCrop>(options);
}

}  // namespace sparknet
