#include "sparknet/layers/spp.h"

#include <algorithm>

#include "src/layers/common.h"
#include "src/layers/pooling.h"

namespace sparknet {
namespace {

/// The windows of one level.
struct Bins {
  Size2 kernel, pad;
};

Bins bins_of(Dim side, const Shape& image) {
  const auto kernel = [&](Dim size) { return (size + side - 1) / side; };
  const auto pad = [&](Dim size) { return (kernel(size) * side - size + 1) / 2; };
  return {{kernel(image[2]), kernel(image[3])}, {pad(image[2]), pad(image[3])}};
}

class RunningSPP final : public Layer {
 public:
  explicit RunningSPP(const SPPOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    const Shape& in = setup.bottom()[0];
    const std::size_t element = size_of(setup.dtype());
    batch_ = in[0];
    top_row_ = static_cast<std::size_t>(setup.top()[0].count(1)) * element;
    std::size_t top_at = 0, mask_at = 0, largest = 0;
    std::uint64_t first_word = 0;
    for (Dim level = 0; level < options_.pyramid_height; ++level) {
      const Dim side = Dim{1} << level;
      const Bins bins = bins_of(side, in);
      auto plan = setup.backend().pooling(
          setup.dtype(),
          {.batch = in[0],
           .channels = in[1],
           .height = in[2],
           .width = in[3],
           .out_h = side,
           .out_w = side,
           .kernel_h = bins.kernel.h,
           .kernel_w = bins.kernel.w,
           .stride_h = bins.kernel.h,
           .stride_w = bins.kernel.w,
           .pad_h = bins.pad.h,
           .pad_w = bins.pad.w},
          method_of(options_.pooling));
      const Dim outputs = in[1] * side * side;
      const std::size_t row = static_cast<std::size_t>(outputs) * element;
      const std::size_t mask = (plan->mask_bytes() + 63) / 64 * 64;
      levels_.push_back({std::move(plan), row, top_at, mask_at, first_word});
      top_at += row;
      mask_at += mask;
      first_word += static_cast<std::uint64_t>(in[0] * outputs);
      largest = std::max(largest, row * static_cast<std::size_t>(in[0]));
    }
    if (setup.phase() == Phase::Train) setup.state(mask_at);
    setup.backward_reads(false, false);
    if (levels_.size() == 1) return;
    gradient_at_ = (largest + 63) / 64 * 64;
    setup.scratch(gradient_at_ + (setup.phase() == Phase::Train ? static_cast<std::size_t>(in.count()) * element : 0));
  }

  void forward(LayerIO& io) override {
    for (const Level& level : levels_) {
      std::byte* const y = levels_.size() == 1 ? io.top().raw() : io.scratch();
      if (io.phase() == Phase::Train)
        level.plan->forward_random(
            io.bottom().raw(),
            y,
            io.state() + level.mask_at,
            {io.seed(), io.sequence(), level.first_word});
      else
        level.plan->forward(io.bottom().raw(), y, nullptr);
      if (y != io.top().raw())
        io.backend().copy_rows(batch_, level.row, y, level.row, io.top().raw() + level.top_at, top_row_);
    }
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    Tensor& dx = io.bottom_diff();
    if (levels_.size() == 1) return levels_[0].plan->backward(io.top_diff().raw(), io.state(), dx.raw());
    for (std::size_t i = 0; i < levels_.size(); ++i) {
      const Level& level = levels_[i];
      std::byte* const to = i == 0 ? dx.raw() : io.scratch() + gradient_at_;
      io.backend().copy_rows(batch_, level.row, io.top_diff().raw() + level.top_at, top_row_, io.scratch(), level.row);
      level.plan->backward(io.scratch(), io.state() + level.mask_at, to);
      if (i > 0) io.backend().axpy(io.dtype(), dx.count(), 1, to, dx.raw());
    }
  }

 private:
  struct Level {
    std::unique_ptr<kernels::Pooling> plan;
    /// Bytes of one image's output, and where it lies in the image's top.
    std::size_t row, top_at;
    std::size_t mask_at;
    std::uint64_t first_word;
  };

  SPPOptions options_;
  Dim batch_ = 0;
  std::size_t top_row_ = 0, gradient_at_ = 0;
  std::vector<Level> levels_;
};

}  // namespace

Shape SPPLayer::infer(std::span<const Shape> in) const {
  require(options.pyramid_height != 0, "option .pyramid_height is required");
  require(options.pyramid_height > 0, "option .pyramid_height must be positive, not {}", options.pyramid_height);
  require_image(in[0]);
  Dim outputs = 0;
  for (Dim level = 0; level < options.pyramid_height; ++level) {
    const Dim side = level < 31 ? Dim{1} << level : Dim{1} << 31;
    const Bins bins = bins_of(side, in[0]);
    require(
        bins.pad.h < bins.kernel.h && bins.pad.w < bins.kernel.w,
        "pyramid_height {} is too much for a {}x{} input: level {} would have {}x{} windows of {}x{} with pad {}x{}",
        options.pyramid_height,
        in[0][2],
        in[0][3],
        level,
        side,
        side,
        bins.kernel.h,
        bins.kernel.w,
        bins.pad.h,
        bins.pad.w);
    require(
        options.pooling != Pooling::Stochastic || bins.pad == Size2(0),
        "stochastic pooling takes no padding, and level {} would need pad {}x{}",
        level,
        bins.pad.h,
        bins.pad.w);
    outputs += side * side;
  }
  if (options.pyramid_height == 1) return {in[0][0], in[0][1], 1, 1};
  return {in[0][0], in[0][1] * outputs};
}

std::unique_ptr<Layer> SPPLayer::make() const {
  return std::make_unique<RunningSPP>(options);
}

}  // namespace sparknet
