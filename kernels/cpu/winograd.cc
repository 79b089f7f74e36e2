#include "kernels/cpu/winograd.h"

#include <algorithm>
#include <limits>

#include "kernels/cpu/correlation.h"
#include "kernels/cpu/output_gradient.h"

namespace sparknet::kernels::cpu {
namespace {

/// Bytes of changed inputs and products that a thread works on at a time: about half of a second-level cache.
constexpr Index kBlockBytes = 512 * 1024;
/// The same at the most, where it would be the weights that come from a farther cache for every block.
constexpr Index kLargeBlockBytes = 4 * 1024 * 1024;
/// Bytes of changed inputs and gradients between two sums of weight gradients.
constexpr Index kChunkBytes = 2 * 1024 * 1024;
constexpr Index kLargeChunkBytes = 16 * 1024 * 1024;
/// Weights that are changed at a time, in channels.
constexpr Index kWeightChannels = 16;

struct Filter {
  explicit Filter(FilterForm f)
      : form(f), outputs(f == FilterForm::F4x3 ? 4 : 2), taps(f == FilterForm::F2x5 ? 5 : 3) {}

  FilterForm form;
  Index outputs, taps;
  Index points() const { return outputs + taps - 1; }
  Index square() const { return points() * points(); }
  /// Of tiles that lie one behind the other in a plane for each point.
  Squares squares(Index tile_pitch, Index plane) const { return {tile_pitch, points() * plane, plane}; }
};

/// Planes of one group of an image as pixels whose channels lie together, within zeros.
template <class T>
class Pixels {
 public:
  Pixels(const HotTable<T>& hot, Index channels, Index height, Index width, Index left, Index padded_width)
      : hot_(hot),
        channels_(channels),
        height_(height),
        width_(width),
        left_(left),
        padded_width_(padded_width),
        pitch_(odd_pitch<T>(round_up(channels, hot.lanes))) {}

  /// Elements from one pixel to the next, and from one row to the next.
  Index pitch() const { return pitch_; }
  Index row_pitch() const { return padded_width_ * pitch_; }

  /// Of tiles that are `outputs` pixels apart.
  Squares squares(Index outputs) const { return {outputs * pitch_, row_pitch(), pitch_}; }

  /// Rows [first, first + rows), of which those outside of the image are zeros.
  void gather(const T* planes, Index first, Index rows, T* to) const {
    for (Index h = first; h < first + rows; ++h, to += row_pitch()) {
      if (h < 0 || h >= height_) {
        std::fill_n(to, row_pitch(), T(0));
        continue;
      }
      std::fill_n(to, left_ * pitch_, T(0));
      T* const inner = to + left_ * pitch_;
      hot_.transpose(channels_, width_, planes + h * width_, height_ * width_, inner, pitch_);
      std::fill_n(inner + width_ * pitch_, (padded_width_ - left_ - width_) * pitch_, T(0));
    }
  }

 private:
  const HotTable<T>& hot_;
  Index channels_, height_, width_, left_, padded_width_, pitch_;
};

/// The tiles of a batch: rows of tiles, those of all images one behind the other.
struct TileRows {
  Index images, each, wide;

  Index count() const { return images * each; }
  /// Calls f(image, first row of tiles, last + 1, tiles before it) for the images in [begin, end).
  template <class F>
  void for_images(Index begin, Index end, F&& f) const {
    for (Index row = begin; row < end;) {
      const Index image = row / each, stop = std::min(end, (image + 1) * each);
      f(image, row - image * each, stop - image * each, (row - begin) * wide);
      row = stop;
    }
  }
};

/// The size of blocks that `count` is cut into: `most` where there are many of them, and else so that an even number of
/// blocks, eight where they are not smaller than `least`, come out. It does not depend on the threads, as compilers may
/// round panels of other heights otherwise.
Index even_size(Index count, Index most, Index least) {
  constexpr Index kBlocks = 8;
  const Index wanted = std::clamp<Index>((count + kBlocks - 1) / kBlocks, least, std::max<Index>(most, least));
  const Index blocks = (count + wanted - 1) / wanted, even = blocks == 1 ? 1 : blocks + blocks % 2;
  return std::max<Index>(1, (count + even - 1) / even);
}

enum class WeightOrder {
  /// w[output][channel][tap]
  Plain,
  /// w[channel][output][tap]
  Swapped,
  /// The same, with the taps from the last to the first.
  Turned
};

TileRows tile_rows(const ConvolutionShape& shape, const Filter& filter) {
  const auto tiles = [&](Index size) { return (size + filter.outputs - 1) / filter.outputs; };
  return {shape.batch, tiles(shape.out_h()), tiles(shape.out_w())};
}

/// Weights of all groups as products want them: [group][point][block of outputs][channel][output].
template <class T>
class ChangedWeights {
 public:
  ChangedWeights(const HotTable<T>& hot, Filter filter, Index groups, Index channels, Index outputs)
      : hot_(hot),
        f_(filter),
        groups_(groups),
        channels_(channels),
        outputs_(outputs),
        unit_(2 * hot.lanes),
        blocks_((outputs + unit_ - 1) / unit_),
        parts_((channels + kWeightChannels - 1) / kWeightChannels) {
    for (Index c = 0; c < channels_; ++c) offsets_.push_back(static_cast<std::int32_t>(c * unit_));
  }

  /// Outputs in a block, and blocks.
  Index unit() const { return unit_; }
  Index blocks() const { return blocks_; }
  /// Of one point.
  Index point_size() const { return blocks_ * channels_ * unit_; }
  Index size() const { return groups_ * f_.square() * point_size(); }
  Index scratch_size() const { return kWeightChannels * f_.taps * f_.taps * unit_; }

  /// Pieces of work of change().
  Index pieces() const { return groups_ * blocks_ * parts_; }
  void change(Index piece, WeightOrder order, const T* weights, T* changed, T* scratch) const {
    const Index part = piece % parts_, block = piece / parts_ % blocks_, group = piece / parts_ / blocks_;
    const Index c = part * kWeightChannels, n = std::min(kWeightChannels, channels_ - c);
    const Index o = block * unit_, outputs = std::min(unit_, outputs_ - o);
    const Index taps = f_.taps * f_.taps;
    const T* const from = weights + group * outputs_ * channels_ * taps;
    if (order == WeightOrder::Plain) {
      hot_.transpose(outputs, n * taps, from + (o * channels_ + c) * taps, channels_ * taps, scratch, unit_);
    } else {
      for (Index i = 0; i < n; ++i) {
        hot_.transpose(outputs, taps, from + ((c + i) * outputs_ + o) * taps, taps, scratch + i * taps * unit_, unit_);
      }
    }
    const bool turned = order == WeightOrder::Turned;
    FilterArgs<T> args{};
    args.tiles = n;
    args.channels = unit_;
    args.src = turned ? scratch + (taps - 1) * unit_ : scratch;
    args.from = {taps * unit_, (turned ? -f_.taps : f_.taps) * unit_, turned ? -unit_ : unit_};
    args.dst = changed + group * f_.square() * point_size() + (block * channels_ + c) * unit_;
    args.to = f_.squares(unit_, point_size());
    hot_.winograd_weights(f_.form, args);
  }

  /// products[point][tile][output] = from[point][tile][channel] * the changed weights of one group.
  void multiply(
      Index tiles, const T* from, Index plane, Index pitch, const T* changed, T* products, Index product_plane,
      Index product_pitch) const {
    TileArgs<T> args{};
    args.k = channels_;
    args.lda = pitch;
    args.offsets = offsets_.data();
    args.ldc = product_pitch;
    for (Index point = 0; point < f_.square(); ++point) {
      for (Index block = 0; block < blocks_; ++block) {
        args.columns = std::min(unit_, round_up(outputs_ - block * unit_, hot_.lanes));
        args.a = from + point * plane;
        args.b = changed + point * point_size() + block * channels_ * unit_;
        args.c = products + point * product_plane + block * unit_;
        run_panels(hot_, hot_.tiles_rows, args, tiles, pitch);
      }
    }
  }

 private:
  const HotTable<T>& hot_;
  Filter f_;
  /// Channels and outputs are of one group.
  Index groups_, channels_, outputs_, unit_, blocks_, parts_;
  std::vector<std::int32_t> offsets_;
};

/// y = act(bias + w * x).
template <class T>
class WinogradCorrelation {
 public:
  WinogradCorrelation(const Engine& engine, const ConvolutionShape& shape, FilterForm form)
      : hot_(table<T>(engine)),
        s_(shape),
        f_(form),
        channels_(shape.channels / shape.group),
        outputs_(shape.num_output / shape.group),
        weights_(hot_, f_, shape.group, channels_, outputs_),
        tiles_(tile_rows(shape, f_)),
        pixels_(hot_, channels_, shape.height, shape.width, shape.pad_w, tiles_.wide * f_.outputs + f_.taps - 1),
        product_pitch_(odd_pitch<T>(round_up(outputs_, hot_.lanes))) {
    const Index tile_bytes = f_.square() * (pixels_.pitch() + product_pitch_) * static_cast<Index>(sizeof(T));
    // So many tiles need as many bytes as the weights do.
    const Index even = channels_ * outputs_ / (channels_ + outputs_);
    const Index fitting =
        std::max({hot_.max_rows, kBlockBytes / tile_bytes, std::min(kLargeBlockBytes / tile_bytes, even)});
    block_rows_ = even_size(tiles_.count(), fitting / tiles_.wide, (hot_.max_rows + tiles_.wide - 1) / tiles_.wide);
    const Index max_tiles = block_rows_ * tiles_.wide;
    plane_ = odd_pitch<T>(max_tiles * pixels_.pitch());
    product_plane_ = odd_pitch<T>(max_tiles * product_pitch_);
    pixels_at_ = layout_.add((block_rows_ * f_.outputs + f_.taps - 1) * pixels_.row_pitch());
    changed_at_ = layout_.add(f_.square() * plane_);
    products_at_ = layout_.add(f_.square() * product_plane_);
    outputs_at_ = layout_.add(block_rows_ * f_.outputs * tiles_.wide * f_.outputs * product_pitch_);
  }

  const ChangedWeights<T>& weights() const { return weights_; }
  /// Elements of scratch for each thread, and of the bias that all share, whose groups begin at whole blocks.
  Index scratch_size() const { return layout_.size(); }
  Index bias_size() const { return s_.group * weights_.blocks() * weights_.unit(); }

  /// Pieces of work of run().
  Index pieces() const { return s_.group * ((tiles_.count() + block_rows_ - 1) / block_rows_); }
  /// x and y are whole tensors; the bias may be null.
  void run(Index piece, const T* x, const T* changed, const T* bias, Activation activation, T* y, T* scratch) const {
    const Index group = piece % s_.group, begin = piece / s_.group * block_rows_;
    const Index end = std::min(begin + block_rows_, tiles_.count());
    tiles_.for_images(begin, end, [&](Index image, Index first, Index last, Index tile) {
      const T* const planes = x + (image * s_.group + group) * channels_ * s_.height * s_.width;
      change_input(planes, first, last, tile, scratch);
    });
    weights_.multiply(
        (end - begin) * tiles_.wide,
        scratch + changed_at_,
        plane_,
        pixels_.pitch(),
        changed + group * f_.square() * weights_.point_size(),
        scratch + products_at_,
        product_plane_,
        product_pitch_);
    const T* const own_bias = bias ? bias + group * weights_.blocks() * weights_.unit() : nullptr;
    tiles_.for_images(begin, end, [&](Index image, Index first, Index last, Index tile) {
      T* const planes = y + (image * s_.group + group) * outputs_ * s_.out_h() * s_.out_w();
      change_output(first, last, tile, own_bias, activation, planes, scratch);
    });
  }

 private:
  void change_input(const T* planes, Index first, Index last, Index tile, T* scratch) const {
    T* const pixels = scratch + pixels_at_;
    const Index rows = (last - first) * f_.outputs + f_.taps - 1;
    pixels_.gather(planes, first * f_.outputs - s_.pad_h, rows, pixels);
    FilterArgs<T> args{};
    args.tiles = tiles_.wide;
    args.channels = round_up(channels_, hot_.lanes);
    args.from = pixels_.squares(f_.outputs);
    args.to = f_.squares(pixels_.pitch(), plane_);
    for (Index row = first; row < last; ++row, tile += tiles_.wide) {
      args.src = pixels + (row - first) * f_.outputs * pixels_.row_pitch();
      args.dst = scratch + changed_at_ + tile * pixels_.pitch();
      hot_.winograd_input(f_.form, args);
    }
  }

  void change_output(
      Index first, Index last, Index tile, const T* bias, Activation activation, T* planes, T* scratch) const {
    T* const pixels = scratch + outputs_at_;
    const Index row_pitch = tiles_.wide * f_.outputs * product_pitch_;
    FilterArgs<T> args{};
    args.tiles = tiles_.wide;
    args.channels = round_up(outputs_, hot_.lanes);
    args.from = f_.squares(product_pitch_, product_plane_);
    args.to = {f_.outputs * product_pitch_, row_pitch, product_pitch_};
    args.bias = bias;
    args.relu = activation.relu;
    args.slope = static_cast<T>(activation.negative_slope);
    for (Index row = first; row < last; ++row, tile += tiles_.wide) {
      args.src = scratch + products_at_ + tile * product_pitch_;
      args.dst = pixels + (row - first) * f_.outputs * row_pitch;
      hot_.winograd_output(f_.form, args);
    }
    const Index out_h = s_.out_h(), out_w = s_.out_w();
    const Index top = first * f_.outputs, bottom = std::min(last * f_.outputs, out_h);
    for (Index h = top; h < bottom; ++h) {
      hot_.transpose(
          out_w,
          outputs_,
          pixels + (h - top) * row_pitch,
          product_pitch_,
          planes + h * out_w,
          out_h * out_w);
    }
  }

  const HotTable<T>& hot_;
  ConvolutionShape s_;
  Filter f_;
  /// Of one group.
  Index channels_, outputs_;
  ChangedWeights<T> weights_;
  TileRows tiles_;
  Pixels<T> pixels_;
  Index product_pitch_;
  Index block_rows_, plane_, product_plane_;
  Layout<T> layout_;
  Index pixels_at_, changed_at_, products_at_, outputs_at_;
};

/// dx, as the changed gradients times the changed weights, changed back and summed where tiles of the input overlap.
/// There are as many tiles as the output has.
template <class T>
class WinogradInputGradient {
 public:
  WinogradInputGradient(const Engine& engine, const ConvolutionShape& shape, FilterForm form)
      : hot_(table<T>(engine)),
        s_(shape),
        f_(form),
        channels_(shape.channels / shape.group),
        outputs_(shape.num_output / shape.group),
        weights_(hot_, f_, shape.group, outputs_, channels_),
        tiles_(tile_rows(shape, f_)),
        gradients_(hot_, outputs_, shape.out_h(), shape.out_w(), 0, tiles_.wide * f_.outputs),
        pitch_(odd_pitch<T>(round_up(channels_, hot_.lanes))) {
    const Index image_tiles = tiles_.each * tiles_.wide;
    const Index tile_bytes = f_.square() * (gradients_.pitch() + pitch_) * static_cast<Index>(sizeof(T));
    block_images_ = even_size(s_.batch, kBlockBytes / (tile_bytes * image_tiles), 1);
    plane_ = odd_pitch<T>(block_images_ * image_tiles * gradients_.pitch());
    product_plane_ = odd_pitch<T>(block_images_ * image_tiles * pitch_);
    pixels_at_ = layout_.add(f_.outputs * gradients_.row_pitch());
    changed_at_ = layout_.add(f_.square() * plane_);
    products_at_ = layout_.add(f_.square() * product_plane_);
    image_at_ = layout_.add(rows() * row_pitch());
  }

  /// For weights that are swapped.
  const ChangedWeights<T>& weights() const { return weights_; }
  Index scratch_size() const { return layout_.size(); }

  Index pieces() const { return s_.group * ((s_.batch + block_images_ - 1) / block_images_); }
  void run(Index piece, const T* dy, const T* changed, T* dx, T* scratch) const {
    const Index group = piece % s_.group, begin = piece / s_.group * block_images_;
    const Index end = std::min(begin + block_images_, s_.batch), image_tiles = tiles_.each * tiles_.wide;
    for (Index image = begin; image < end; ++image) {
      const T* const planes = dy + (image * s_.group + group) * outputs_ * s_.out_h() * s_.out_w();
      change_gradient(planes, (image - begin) * image_tiles, scratch);
    }
    weights_.multiply(
        (end - begin) * image_tiles,
        scratch + changed_at_,
        plane_,
        gradients_.pitch(),
        changed + group * f_.square() * weights_.point_size(),
        scratch + products_at_,
        product_plane_,
        pitch_);
    for (Index image = begin; image < end; ++image) {
      T* const planes = dx + (image * s_.group + group) * channels_ * s_.height * s_.width;
      add_tiles((image - begin) * image_tiles, planes, scratch);
    }
  }

 private:
  /// Of the image with its padding and what hangs over.
  Index rows() const { return tiles_.each * f_.outputs + f_.taps - 1; }
  Index row_pitch() const { return (tiles_.wide * f_.outputs + f_.taps - 1) * pitch_; }

  void change_gradient(const T* planes, Index tile, T* scratch) const {
    FilterArgs<T> args{};
    args.tiles = tiles_.wide;
    args.channels = round_up(outputs_, hot_.lanes);
    args.src = scratch + pixels_at_;
    args.from = gradients_.squares(f_.outputs);
    args.to = f_.squares(gradients_.pitch(), plane_);
    for (Index row = 0; row < tiles_.each; ++row, tile += tiles_.wide) {
      gradients_.gather(planes, row * f_.outputs, f_.outputs, scratch + pixels_at_);
      args.dst = scratch + changed_at_ + tile * gradients_.pitch();
      hot_.winograd_gradient(f_.form, args);
    }
  }

  void add_tiles(Index tile, T* planes, T* scratch) const {
    T* const image = scratch + image_at_;
    std::fill_n(image, rows() * row_pitch(), T(0));
    FilterArgs<T> args{};
    args.tiles = tiles_.wide;
    args.channels = round_up(channels_, hot_.lanes);
    args.from = f_.squares(pitch_, product_plane_);
    args.to = {f_.outputs * pitch_, row_pitch(), pitch_};
    for (Index row = 0; row < tiles_.each; ++row, tile += tiles_.wide) {
      args.src = scratch + products_at_ + tile * pitch_;
      args.dst = image + row * f_.outputs * row_pitch();
      hot_.winograd_input_gradient(f_.form, args);
    }
    for (Index h = 0; h < s_.height; ++h) {
      const T* const from = image + (h + s_.pad_h) * row_pitch() + s_.pad_w * pitch_;
      hot_.transpose(s_.width, channels_, from, pitch_, planes + h * s_.width, s_.height * s_.width);
    }
  }

  const HotTable<T>& hot_;
  ConvolutionShape s_;
  Filter f_;
  Index channels_, outputs_;
  ChangedWeights<T> weights_;
  TileRows tiles_;
  Pixels<T> gradients_;
  Index pitch_, block_images_, plane_, product_plane_;
  Layout<T> layout_;
  Index pixels_at_, changed_at_, products_at_, image_at_;
};

/// dw: for each point the products of the changed inputs and the changed gradients, summed over all tiles in the same
/// order whatever the number of threads.
template <class T>
class WinogradWeightGradient {
 public:
  WinogradWeightGradient(Engine& engine, const ConvolutionShape& shape, FilterForm form)
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

  Index scratch_size() const { return shared_.size() + engine_.team.size() * own_.size(); }

  void run(const T* x, const T* dy, bool accumulate, T* dw, T* scratch) const {
    const int team = engine_.team.size();
    const auto own = [&](int worker) { return scratch + shared_.size() + worker * own_.size(); };
    for (Index group = 0; group < s_.group; ++group) {
      for (Index begin = 0; begin < tiles_.count(); begin += chunk_rows_) {
        const Index end = std::min(begin + chunk_rows_, tiles_.count());
        engine_.team.run([&](int worker) {
          const Share part = share(end - begin, team, worker);
          tiles_.for_images(
              begin + part.begin,
              begin + part.end,
              [&](Index image, Index first, Index last, Index tile) {
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

 private:
  void change(
      const T* x, const T* dy, Index image, Index group, Index first, Index last, Index tile, T* scratch,
      T* own) const {
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

  void multiply(Index group, Index point, Index block, Index tiles, bool accumulate, T* scratch) const {
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

  void reduce(Index group, Index block, Index part, bool accumulate, T* dw, T* scratch, T* own) const {
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

  Engine& engine_;
  const HotTable<T>& hot_;
  ConvolutionShape s_;
  Filter f_;
  Index channels_, outputs_, unit_, blocks_;
  TileRows tiles_;
  Pixels<T> pixels_, gradients_;
  Index point_size_;
  Index chunk_rows_, plane_, gradient_plane_;
  Layout<T> shared_, own_;
  Index sums_at_, changed_at_, gradients_at_, pixels_at_, gradient_pixels_at_, weights_at_, turned_at_;
  std::vector<std::int32_t> offsets_;
};

/// The convolution of the same kernel that takes dy to dx.
ConvolutionShape turned(const ConvolutionShape& s) {
  ConvolutionShape t = s;
  t.channels = s.num_output;
  t.num_output = s.channels;
  t.height = s.out_h();
  t.width = s.out_w();
  t.pad_h = s.kernel_h - 1 - s.pad_h;
  t.pad_w = s.kernel_w - 1 - s.pad_w;
  return t;
}

/// Vectors of multiply-adds that plain products of a batch cost, for one group.
double plain_cycles(const ConvolutionShape& s, Index lanes) {
  const Index channels = s.channels / s.group, outputs = s.num_output / s.group;
  const Index vectors = (s.out_h() * s.out_w() + lanes - 1) / lanes;
  return static_cast<double>(s.batch * outputs * channels * s.kernel_h * s.kernel_w * vectors) / 0.9;
}

/// What minimal filtering costs in the same measure. The factors were measured (docs/performance.md).
double filter_cycles(const ConvolutionShape& s, const Filter& f, Index lanes) {
  struct Costs {
    /// Of a tile's vector of channels, its vector of outputs, and the vector of weights of one channel.
    double input, output, weights;
  };
  const Costs costs = f.form == FilterForm::F2x3   ? Costs{80, 50, 80}
                      : f.form == FilterForm::F4x3 ? Costs{250, 180, 170}
                                                   : Costs{250, 130, 450};
  const Index channels = s.channels / s.group, outputs = s.num_output / s.group;
  const auto vectors = [lanes](Index n) { return static_cast<double>((n + lanes - 1) / lanes); };
  const auto tiles = static_cast<double>(
      s.batch * ((s.out_h() + f.outputs - 1) / f.outputs) * ((s.out_w() + f.outputs - 1) / f.outputs));
  const double products = static_cast<double>(f.square() * channels) * vectors(outputs);
  const auto turned = static_cast<double>(s.batch * (channels * s.height * s.width + outputs * s.out_h() * s.out_w()));
  const double weights = static_cast<double>(f.square() * channels * outputs);
  return tiles * (products / 0.85 + vectors(channels) * costs.input + vectors(outputs) * costs.output) + 0.6 * turned +
         static_cast<double>(channels) * vectors(outputs) * costs.weights + 1.5 * weights;
}

template <class T>
class WinogradConvolution final : public Linear {
 public:
  WinogradConvolution(Engine& engine, const ConvolutionShape& shape, FilterForm form, Activation activation)
      : engine_(engine),
        s_(shape),
        activation_(activation),
        forward_(engine, shape, form),
        weights_(engine, shape, form) {
    // Summing the tiles of the input costs about half as much as the product.
    const auto tiles = [&](const ConvolutionShape& s) {
      const TileRows rows = tile_rows(s, Filter(form));
      return static_cast<double>(rows.count() * rows.wide);
    };
    if (tiles(turned(shape)) > 1.5 * tiles(shape)) {
      gradient_.emplace(engine, shape, form);
    } else {
      turned_.emplace(engine, turned(shape), form);
    }
    bias_at_ = layout_.add(std::max(forward_.bias_size(), s_.batch * s_.num_output));
    rest_at_ = layout_.size();
  }

  std::size_t scratch_bytes() const override {
    const Index team = engine_.team.size();
    const auto size = [&](const auto& plan) {
      const ChangedWeights<T>& weights = plan.weights();
      return weights.size() + team * std::max(plan.scratch_size(), weights.scratch_size());
    };
    const Index largest =
        std::max({size(forward_), turned_ ? size(*turned_) : size(*gradient_), weights_.scratch_size()});
    return static_cast<std::size_t>(rest_at_ + largest) * sizeof(T);
  }

  void forward(const void* x, const void* weights, const void* bias, void* y, void* scratch) override {
    T* const shared = static_cast<T*>(scratch);
    T* own_bias = nullptr;
    if (bias) {
      own_bias = shared + bias_at_;
      const Index outputs = s_.num_output / s_.group, pitch = forward_.bias_size() / s_.group;
      for (Index group = 0; group < s_.group; ++group) {
        std::copy_n(static_cast<const T*>(bias) + group * outputs, outputs, own_bias + group * pitch);
      }
    }
    run(forward_, WeightOrder::Plain, weights, shared + rest_at_, [&](Index piece, const T* changed, T* own) {
      forward_.run(piece, static_cast<const T*>(x), changed, own_bias, activation_, static_cast<T*>(y), own);
    });
  }

  void backward(const BackwardArgs& args, void* scratch) override {
    T* const shared = static_cast<T*>(scratch);
    T* const bias = shared + bias_at_;
    T* const dy = static_cast<T*>(args.dy);
    mask_and_sum(engine_, s_.batch, s_.num_output, s_.out_h() * s_.out_w(), activation_, args, bias);
    if (args.dx && turned_) {
      run(*turned_, WeightOrder::Turned, args.weights, shared + rest_at_, [&](Index piece, const T* changed, T* own) {
        turned_->run(piece, dy, changed, nullptr, Activation{}, static_cast<T*>(args.dx), own);
      });
    } else if (args.dx) {
      run(*gradient_,
          WeightOrder::Swapped,
          args.weights,
          shared + rest_at_,
          [&](Index piece, const T* changed, T* own) {
            gradient_->run(piece, dy, changed, static_cast<T*>(args.dx), own);
          });
    }
    if (args.dweights) {
      weights_
          .run(static_cast<const T*>(args.x), dy, args.accumulate, static_cast<T*>(args.dweights), shared + rest_at_);
    }
  }

 private:
  /// Calls f(piece, changed weights, scratch of the thread) for all pieces of the plan.
  template <class Plan, class F>
  void run(const Plan& plan, WeightOrder order, const void* weights, T* scratch, F&& f) {
    const int team = engine_.team.size();
    const ChangedWeights<T>& changing = plan.weights();
    const Index each = std::max(plan.scratch_size(), changing.scratch_size());
    const auto own = [&](int worker) { return scratch + changing.size() + worker * each; };
    engine_.team.run([&](int worker) {
      const Share part = share(changing.pieces(), team, worker);
      for (Index i = part.begin; i < part.end; ++i) {
        changing.change(i, order, static_cast<const T*>(weights), scratch, own(worker));
      }
    });
    engine_.team.run([&](int worker) {
      const Share part = share(plan.pieces(), team, worker);
      for (Index i = part.begin; i < part.end; ++i) f(i, scratch, own(worker));
    });
  }

  Engine& engine_;
  ConvolutionShape s_;
  Activation activation_;
  WinogradCorrelation<T> forward_;
  /// One of the two.
  std::optional<WinogradCorrelation<T>> turned_;
  std::optional<WinogradInputGradient<T>> gradient_;
  WinogradWeightGradient<T> weights_;
  Layout<T> layout_;
  Index bias_at_, rest_at_;
};

}  // namespace

std::optional<FilterForm> winograd_form(const ConvolutionShape& s, Index lanes, Winograd when) {
  if (when == Winograd::Never) return std::nullopt;
  if (s.kernel_h != s.kernel_w || s.stride_h != 1 || s.stride_w != 1 || s.dilation_h != 1 || s.dilation_w != 1) {
    return std::nullopt;
  }
  if (s.pad_h >= s.kernel_h || s.pad_w >= s.kernel_w) return std::nullopt;
  // The gradient of the input is a convolution too.
  const auto both = [&](const auto& cycles) { return cycles(s) + cycles(turned(s)); };
  std::optional<FilterForm> best;
  double least = when == Winograd::Always ? std::numeric_limits<double>::infinity()
                                          : 0.9 * both([&](const auto& shape) { return plain_cycles(shape, lanes); });
  for (const FilterForm form : {FilterForm::F2x3, FilterForm::F4x3, FilterForm::F2x5}) {
    if (Filter(form).taps != s.kernel_h) continue;
    const double cycles = both([&](const auto& shape) { return filter_cycles(shape, Filter(form), lanes); });
    if (cycles >= least) continue;
    least = cycles;
    best = form;
  }
  return best;
}

std::unique_ptr<Linear> make_winograd(
    Engine& engine, DType dtype, const ConvolutionShape& shape, FilterForm form, Activation activation) {
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<Linear> {
    return std::make_unique<WinogradConvolution<decltype(zero)>>(engine, shape, form, activation);
  });
}

}  // namespace sparknet::kernels::cpu
