#include "kernels/cpu/winograd_weight_gradient.h"

#include "kernels/cpu/correlation.h"

namespace sparknet::kernels::cpu {
namespace {

/// Bytes of changed inputs and gradients between two sums, and where the sums themselves are larger.
constexpr Index kChunkBytes = 2 * 1024 * 1024;
constexpr Index kLargeChunkBytes = 16 * 1024 * 1024;

}  // namespace

template <class T>
WinogradWeightGradient<T>::WinogradWeightGradient(Engine& engine, const ConvolutionShape& shape, FilterForm form)
    : engine_(engine),
      hot_(table<T>(engine)),
      s_(shape),
      f_(form),
      channels_(shape.channels / shape.group),
      outputs_(shape.num_output / shape.group),
      unit_(2 * hot_.lanes),
      blocks_((outputs_ + unit_ - 1) / unit_),
      tiles_(tile_rows(shape, f_)),
      pixels_(hot_, channels_, shape.height, shape.width, shape.pad_w, tiles_.wide * f_.outputs + f_.taps - 1),
      gradients_(hot_, outputs_, shape.out_h(), shape.out_w(), 0, tiles_.wide * f_.outputs),
      point_size_(blocks_ * channels_ * unit_) {
  const Index tile_bytes = f_.square() * (pixels_.pitch() + blocks_ * unit_) * static_cast<Index>(sizeof(T));
  const Index even = channels_ * outputs_ / (channels_ + outputs_);
  const Index chunk = std::max(kChunkBytes / tile_bytes, std::min(kLargeChunkBytes / tile_bytes, 2 * even));
  chunk_rows_ = std::clamp<Index>(chunk / tiles_.wide, 1, tiles_.count());
  const Index tiles = chunk_rows_ * tiles_.wide;
  plane_ = odd_pitch<T>(tiles * pixels_.pitch());
  gradient_plane_ = odd_pitch<T>(blocks_ * tiles * unit_);
  sums_at_ = shared_.add(s_.group * f_.square() * point_size_);
  changed_at_ = shared_.add(f_.square() * plane_);
  gradients_at_ = shared_.add(f_.square() * gradient_plane_);
  pixels_at_ = own_.add((f_.outputs + f_.taps - 1) * pixels_.row_pitch());
  gradient_pixels_at_ = own_.add(f_.outputs * gradients_.row_pitch());
  // The last pieces of work want this instead.
  const Index weights = kWeightChannels * f_.taps * f_.taps * unit_;
  weights_at_ = own_.add(weights);
  turned_at_ = own_.add(weights);
  for (Index tile = 0; tile < tiles; ++tile) offsets_.push_back(static_cast<std::int32_t>(tile * unit_));
}

template <class T>
void WinogradWeightGradient<T>::run(const T* x, const T* dy, bool accumulate, T* dw, T* scratch) const {
  const int team = engine_.team.size();
  const auto own = [&](int worker) { return scratch + shared_.size() + worker * own_.size(); };
  for (Index group = 0; group < s_.group; ++group) {
    for (Index begin = 0; begin < tiles_.count(); begin += chunk_rows_) {
      const Index end = std::min(begin + chunk_rows_, tiles_.count());
      engine_.team.run([&](int worker) {
        const Share part = share(end - begin, team, worker);
        tiles_.for_images(begin + part.begin, begin + part.end, [&](Index image, Index first, Index last, Index tile) {
          change(x, dy, image, group, first, last, part.begin * tiles_.wide + tile, scratch, own(worker));
        });
      });
      engine_.team.run([&](int worker) {
        const Share part = share(f_.square() * blocks_, team, worker);
        for (Index i = part.begin; i < part.end; ++i) {
          multiply(group, i / blocks_, i % blocks_, (end - begin) * tiles_.wide, begin > 0, scratch);
        }
      });
    }
  }
  const Index parts = (channels_ + kWeightChannels - 1) / kWeightChannels;
  engine_.team.run([&](int worker) {
    const Share part = share(s_.group * blocks_ * parts, team, worker);
    for (Index i = part.begin; i < part.end; ++i) {
      reduce(i / parts / blocks_, i / parts % blocks_, i % parts, accumulate, dw, scratch, own(worker));
    }
  });
}

template <class T>
void WinogradWeightGradient<T>::change(
    const T* x, const T* dy, Index image, Index group, Index first, Index last, Index tile, T* scratch, T* own) const {
  const Index number = image * s_.group + group;
  const T* const planes = x + number * channels_ * s_.height * s_.width;
  const T* const gradient = dy + number * outputs_ * s_.out_h() * s_.out_w();
  const Index tiles = chunk_rows_ * tiles_.wide;
  for (Index row = first; row < last; ++row, tile += tiles_.wide) {
    pixels_.gather(planes, row * f_.outputs - s_.pad_h, f_.points(), own + pixels_at_);
    FilterArgs<T> args{};
    args.tiles = tiles_.wide;
    args.channels = round_up(channels_, hot_.lanes);
    args.src = own + pixels_at_;
    args.from = pixels_.squares(f_.outputs);
    args.dst = scratch + changed_at_ + tile * pixels_.pitch();
    args.to = f_.squares(pixels_.pitch(), plane_);
    hot_.winograd_input(f_.form, args);

    gradients_.gather(gradient, row * f_.outputs, f_.outputs, own + gradient_pixels_at_);
    args.from = gradients_.squares(f_.outputs);
    args.to = f_.squares(unit_, gradient_plane_);
    for (Index block = 0; block < blocks_; ++block) {
      args.channels = std::min(unit_, round_up(outputs_ - block * unit_, hot_.lanes));
      args.src = own + gradient_pixels_at_ + block * unit_;
      args.dst = scratch + gradients_at_ + (block * tiles + tile) * unit_;
      hot_.winograd_gradient(f_.form, args);
    }
  }
}

template <class T>
void WinogradWeightGradient<T>::multiply(
    Index group, Index point, Index block, Index tiles, bool accumulate, T* scratch) const {
  TileArgs<T> args{};
  args.columns = std::min(unit_, round_up(outputs_ - block * unit_, hot_.lanes));
  args.k = tiles;
  args.a = scratch + changed_at_ + point * plane_;
  args.lda = pixels_.pitch();
  args.b = scratch + gradients_at_ + point * gradient_plane_ + block * chunk_rows_ * tiles_.wide * unit_;
  args.offsets = offsets_.data();
  args.c = scratch + sums_at_ + (group * f_.square() + point) * point_size_ + block * channels_ * unit_;
  args.ldc = unit_;
  args.accumulate = accumulate;
  run_panels(hot_, hot_.tiles_packed, args, channels_, 1);
}

template <class T>
void WinogradWeightGradient<T>::reduce(
    Index group, Index block, Index part, bool accumulate, T* dw, T* scratch, T* own) const {
  const Index c = part * kWeightChannels, n = std::min(kWeightChannels, channels_ - c);
  const Index o = block * unit_, outputs = std::min(unit_, outputs_ - o);
  const Index taps = f_.taps * f_.taps;
  FilterArgs<T> args{};
  args.tiles = n;
  args.channels = std::min(unit_, round_up(outputs, hot_.lanes));
  args.src = scratch + sums_at_ + group * f_.square() * point_size_ + (block * channels_ + c) * unit_;
  args.from = f_.squares(unit_, point_size_);
  args.dst = own + weights_at_;
  args.to = {taps * unit_, f_.taps * unit_, unit_};
  hot_.winograd_weight_gradient(f_.form, args);

  T* const out = dw + ((group * outputs_ + o) * channels_ + c) * taps;
  const Index pitch = channels_ * taps, count = n * taps;
  if (!accumulate) return hot_.transpose(count, outputs, own + weights_at_, unit_, out, pitch);
  hot_.transpose(count, outputs, own + weights_at_, unit_, own + turned_at_, count);
  for (Index i = 0; i < outputs; ++i) hot_.axpy(count, T(1), own + turned_at_ + i * count, out + i * pitch);
}

template class WinogradWeightGradient<float>;
template class WinogradWeightGradient<double>;

}  // namespace sparknet::kernels::cpu
