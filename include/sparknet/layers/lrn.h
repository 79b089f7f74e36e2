#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// Where the neighbours of a number are: at the same pixel of nearby channels, or around it in its own channel.
enum class NormRegion : std::uint8_t { AcrossChannels, WithinChannel };
/// "NormRegion::AcrossChannels"
std::string to_text(NormRegion value);

struct LRNOptions {
  /// The number of channels, or the side of the square of pixels, that a sum is over; odd.
  Dim local_size = 5;
  double alpha = 1;
  double beta = 0.75;
  NormRegion norm_region = NormRegion::AcrossChannels;
  /// Above 0.
  double k = 1;

  bool operator==(const LRNOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = LRNOptions;
    visit("local_size", &O::local_size);
    visit("alpha", &O::alpha);
    visit("beta", &O::beta);
    visit("norm_region", &O::norm_region);
    visit("k", &O::k);
  }
};

/// Local response normalisation: y = x / (k + alpha / n * sum of x^2 over n neighbours)^beta, with zeros beyond the
/// edges; n is local_size, or its square within a channel. Caffe's LRN (there `k` is taken for 1 within a channel).
/// [N, C, H, W] -> the same.
///
///     LRNLayer{"norm1", {"pool1"}, {.local_size = 3, .alpha = 5e-5}}
struct LRNLayer {
  static constexpr std::string_view type = "LRNLayer";
  std::string name;
  Inputs<1> bottom;
  LRNOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const LRNLayer&) const = default;
};

}  // namespace sparknet
