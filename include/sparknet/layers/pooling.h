#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// Stochastic (Zeiler and Fergus 2013) takes an element of the window at random, with a probability in proportion to
/// its value, and in the test phase the mean with those weights. Its inputs are not to be negative, as behind a ReLU.
enum class Pooling : std::uint8_t { Max, Ave, Stochastic };
/// "Pooling::Max"
std::string to_text(Pooling value);

/// What becomes of the rows and columns that are left when the stride does not divide the image: a window that hangs
/// over the edge, or none.
enum class RoundMode : std::uint8_t { Ceil, Floor };
/// "RoundMode::Ceil"
std::string to_text(RoundMode value);

struct PoolingOptions {
  Pooling pooling = Pooling::Max;
  Size2 kernel = {};  // required unless global
  Size2 stride = 1;
  /// Smaller than the kernel. The maximum ignores padding; the average counts it as zeros; stochastic takes none.
  Size2 pad = 0;
  RoundMode round_mode = RoundMode::Ceil;
  /// One window: the whole image. Then kernel, stride and pad are left out.
  bool global = false;

  bool operator==(const PoolingOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = PoolingOptions;
    visit("pooling", &O::pooling);
    visit("kernel", &O::kernel);
    visit("stride", &O::stride);
    visit("pad", &O::pad);
    visit("round_mode", &O::round_mode);
    visit("global", &O::global);
  }
};

/// The largest element, the mean, or an element at random, of each window of each channel. Caffe's Pooling, where the
/// options are pool, kernel_size, round_mode and global_pooling.
/// [N, C, H, W] -> [N, C, (H + 2 pad - kernel) / stride + 1, ...], rounded by `round_mode`; a last window that would
/// start beyond the image and its left or upper padding is dropped (Caffe drops it only where there is padding).
/// A window that hangs over the padded image is cut off there, and the mean is over what is left.
/// The maximum has a second top where it is given a name for one: where in its channel, h * W + w, each maximum lies.
/// No gradient comes back from there.
///
///     PoolingLayer{"pool1", {"conv1"}, {.pooling = Pooling::Max, .kernel = {2, 2}, .stride = {2, 2}}}
///     with(PoolingLayer{"pool1", {"conv1"}, {.kernel = 2, .stride = 2}}, {.top = {"pool1", "places"}})
struct PoolingLayer {
  static constexpr std::string_view type = "PoolingLayer";
  std::string name;
  Inputs<1> bottom;
  PoolingOptions options;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  std::vector<Shape> infer(std::span<const Shape> in, std::size_t tops) const;  // the pools[, the places of the maxima]
  std::unique_ptr<Layer> make() const;
  bool operator==(const PoolingLayer&) const = default;
};

}  // namespace sparknet
