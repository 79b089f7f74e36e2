#include "src/data/transform.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "sparknet/error.h"
#include "sparknet/random.h"

namespace sparknet::detail {
namespace {

// A mean is one value for the row or a value for each element of it; the loops have no branches, so they vectorise.

template <class T, class In, class Out>
void scale_row(const In* __restrict in, Out* __restrict out, Dim width, T mean, T scale) {
  for (Dim x = 0; x < width; ++x) out[x] = static_cast<Out>((static_cast<T>(in[x]) - mean) * scale);
}

template <class T, class In, class Out>
void scale_row(const In* __restrict in, Out* __restrict out, Dim width, const T* __restrict mean, T scale) {
  for (Dim x = 0; x < width; ++x) out[x] = static_cast<Out>((static_cast<T>(in[x]) - mean[x]) * scale);
}

template <class In, class Out>
class TypedTransformer final : public Transformer {
  // 32 bits of an integer and a double's fraction outlast a float's, so their mean is subtracted before rounding.
  using T = std::conditional_t<
      std::is_same_v<Out, double> || std::is_same_v<In, double> || std::is_same_v<In, std::int32_t>, double, float>;

 public:
  TypedTransformer(const Column& column, const Transform& transform, bool random)
      : Transformer(column, transform, random), scale_(static_cast<T>(transform.scale)) {
    if (transform.mean.defined()) {
      const Tensor mean = transform.mean.cast(dtype_of<T>);
      image_mean_.assign(mean.template span<T>().begin(), mean.template span<T>().end());
    }
    channel_mean_.assign(static_cast<std::size_t>(channels_), 0);
    for (std::size_t c = 0; c < channel_mean_.size() && !transform.mean_values.empty(); ++c)
      channel_mean_[c] = static_cast<T>(transform.mean_values[transform.mean_values.size() == 1 ? 0 : c]);

    join_rows(transform.mean_values.size() <= 1);
  }

  void apply(const std::byte* in, std::byte* out, const Placement& placement) const override {
    const In* const source = reinterpret_cast<const In*>(in);
    Out* const target = reinterpret_cast<Out*>(out);
    for_rows(placement, [&](Dim c, Dim from, Dim to) {
      if (!image_mean_.empty())
        row(source + from, target + to, image_mean_.data() + from, placement.flip);
      else
        row(source + from, target + to, channel_mean_[static_cast<std::size_t>(c)], placement.flip);
    });
  }

 private:
  template <class Mean>
  void row(const In* in, Out* out, Mean mean, bool flip) const {
    scale_row<T>(in, out, cut_width_, mean, scale_);
    if (flip) std::reverse(out, out + cut_width_);  // the row is in the nearest cache still
  }

  T scale_;
  std::vector<T> image_mean_, channel_mean_;
};

template <class T>
class Cutter final : public Transformer {
 public:
  Cutter(const Column& column, const Transform& transform, bool random) : Transformer(column, transform, random) {
    join_rows(true);
  }

  void apply(const std::byte* in, std::byte* out, const Placement& placement) const override {
    for_rows(placement, [&](Dim, Dim from, Dim to) {
      const T* const first = reinterpret_cast<const T*>(in) + from;
      T* const target = reinterpret_cast<T*>(out) + to;
      if (placement.flip)
        std::reverse_copy(first, first + cut_width_, target);
      else
        std::copy_n(first, cut_width_, target);
    });
  }
};

class PlacementWriter final : public Transformer {
 public:
  PlacementWriter(const Column& column, const Transform& transform, bool random)
      : Transformer(column, transform, random) {
    shape_ = {3};
  }

  void apply(const std::byte*, std::byte* out, const Placement& placement) const override {
    const std::int32_t numbers[] = {
        static_cast<std::int32_t>(placement.top),
        static_cast<std::int32_t>(placement.left),
        placement.flip};
    std::memcpy(out, numbers, sizeof numbers);
  }
};

}  // namespace

Transformer::Transformer(const Column& column, const Transform& transform, bool random) : shape_(column.shape) {
  const auto fail = [&](const std::string& why) {
    throw DataError(fmt::format("column \"{}\"", column.name), -1, why);
  };
  const bool image = shape_.size() == 3;
  if (!image && (transform.crop != 0 || transform.mirror))
    fail(fmt::format(
        "{} wants an image [channels, height, width], and an example is {}",
        transform.crop != 0 ? "crop" : "mirror",
        to_string(shape_)));

  if (image) {
    channels_ = shape_[0], height_ = shape_[1], width_ = shape_[2];
  } else {
    width_ = shape_.count();
  }
  cut_height_ = height_, cut_width_ = width_;
  if (transform.crop != 0) {
    if (transform.crop < 0 || transform.crop > height_ || transform.crop > width_)
      fail(fmt::format("a square of side {} cannot be cut out of {}", transform.crop, to_string(shape_)));
    shape_[1] = shape_[2] = cut_height_ = cut_width_ = transform.crop;
    crops_ = true;
    draws_place_ = random;
  }
  draws_flip_ = transform.mirror && random;

  const std::size_t values = transform.mean_values.size();
  if (values > 0 && transform.mean.defined()) fail("mean and mean_values are both given; take one");
  if (values > 1 && static_cast<Dim>(values) != channels_)
    fail(fmt::format(
        "{} mean values for an example {} of {} {}; give one for each channel, or one for all",
        values,
        to_string(column.shape),
        channels_,
        channels_ == 1 ? "channel" : "channels"));
  if (transform.mean.defined()) {
    Shape one_image = {1};
    for (const Dim dim : column.shape) one_image.push_back(dim);
    if (transform.mean.shape() != column.shape && transform.mean.shape() != one_image)
      fail(fmt::format(
          "the mean is {} and an example is {}",
          to_string(transform.mean.shape()),
          to_string(column.shape)));
  }
}

void Transformer::join_rows(bool across_channels) {
  if (crops_ || draws_flip_) return;
  if (across_channels) height_ = std::exchange(channels_, 1) * height_;
  width_ *= std::exchange(height_, 1);
  cut_height_ = height_, cut_width_ = width_;
}

Placement Transformer::place(std::uint64_t seed, std::uint64_t example) const {
  Placement placement;
  const Dim below = height_ - cut_height_, right = width_ - cut_width_;
  if (!draws_place_) placement.top = below / 2, placement.left = right / 2;
  if (!draws_place_ && !draws_flip_) return placement;

  // Epochs, which have the small numbers, shuffle with the other half of the sequences.
  Random random(seed, std::uint64_t{1} << 63 | example);
  if (draws_place_) {
    placement.top = static_cast<Dim>(random.below(static_cast<std::uint64_t>(below) + 1));
    placement.left = static_cast<Dim>(random.below(static_cast<std::uint64_t>(right) + 1));
  }
  placement.flip = draws_flip_ && random.bits() >> 31;
  return placement;
}

std::unique_ptr<const Transformer> make_transformer(
    const Column& column, const Transform& transform, bool random, DType out, FeedPart part) {
  if (part == FeedPart::Placement) return std::make_unique<PlacementWriter>(column, transform, random);
  return dispatch(column.dtype, [&]<class In>(TypeTag<In>) -> std::unique_ptr<const Transformer> {
    if (part == FeedPart::Stored) return std::make_unique<Cutter<In>>(column, transform, random);
    if (out == DType::F64) return std::make_unique<TypedTransformer<In, double>>(column, transform, random);
    return std::make_unique<TypedTransformer<In, float>>(column, transform, random);
  });
}

}  // namespace sparknet::detail
