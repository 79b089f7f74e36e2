#pragma once

// The serial inner loops, compiled once for each instruction set. Units that are built with instructions of their own
// include nothing but this header, and it defines no function: an inline function that two units share could be kept
// in the version that the machine cannot run.

#include <stddef.h>
#include <stdint.h>

namespace sparknet::kernels::cpu {

using Index = int64_t;

/// One panel of a product: c[m][j] (+)= sum_k a(m, k) * b[offsets[k] + j], then bias and activation.
template <class T>
struct TileArgs {
  /// Rows of the panel, 1 to Hot::max_rows.
  Index rows;
  Index columns;
  Index k;
  /// a(m, k) is a[k * lda + m] for tiles_packed and a[m * lda + k] for tiles_rows.
  const T* a;
  Index lda;
  /// Readable up to a whole number of vectors from column 0.
  const T* b;
  const int32_t* offsets;
  T* c;
  Index ldc;
  /// One for each row, or null.
  const T* bias;
  bool accumulate;
  bool relu;
  T slope;
};

/// dst[(c * kernel + k) * pitch + r * width + w] = src[c * plane + rows[r] + w * stride + k * dilation].
/// Reads and writes up to one vector past the end of a row.
template <class T>
struct UnrollArgs {
  const T* src;
  Index channels, plane, kernel, dilation, stride;
  const int32_t* rows;
  Index row_count, width;
  T* dst;
  Index pitch;
};

/// dst[r * dst_pitch + j * dst_step] = src[r * src_pitch + j * src_step], and nothing else is touched.
template <class T>
struct CopyArgs {
  Index rows, columns;
  const T* src;
  Index src_pitch, src_step;
  T* dst;
  Index dst_pitch, dst_step;
};

/// dst[(r * width + w) * pitch + (c * taps + t) * kernel + k] =
///     src[c * plane + t * tap_step + row(r) + w * stride + k * dilation], row(r) being rows[r], or r * row_step where
/// rows is null. Reads and writes up to one vector past the end of a segment of `kernel` elements.
template <class T>
struct PatchArgs {
  const T* src;
  Index plane, channels, taps, tap_step, kernel, dilation, stride, row_step;
  const int32_t* rows;
  Index row_count, width;
  T* dst;
  Index pitch;
};

/// Sums the gradients of unrolled columns [channels][kernel_h * kernel_w][pitch] into images, for stride 1.
template <class T>
struct FoldArgs {
  /// Readable from one vector before to one vector behind.
  const T* src;
  Index pitch;
  Index channels, height, width, out_h, out_w;
  Index kernel_h, kernel_w, pad_h, pad_w, dilation_h, dilation_w;
  /// mask[i] is all ones for 0 <= i < out_w and else 0; readable wherever a vector touches that range.
  const T* mask;
  T* dst;
};

/// Minimal filtering of squares of outputs with square kernels: F(outputs, taps) for each side.
enum class FilterForm : uint8_t { F2x3, F4x3, F2x5 };

/// Where squares of vectors lie: element (i, j) of tile t is t * step + i * row + j * column elements behind the first.
struct Squares {
  Index step, row, column;
};

/// Squares of vectors to squares of vectors, channel by channel in whole vectors.
template <class T>
struct FilterArgs {
  Index tiles, channels;
  Squares from, to;
  const T* src;
  T* dst;
  /// Of winograd_output: one for each channel, or null; and the activation.
  const T* bias;
  bool relu;
  T slope;
};

/// dy (masked by y in place where `y` is given) copied to out[row * pitch + column]; sums[row] += the row's sum.
template <class T>
struct GradientArgs {
  Index rows, columns;
  T* dy;
  const T* y;
  Index ld;
  T slope;
  /// Null where no copy is wanted.
  T* out;
  Index pitch;
  /// Null where no sums are wanted.
  T* sums;
};

template <class T>
struct PoolRowArgs {
  const T* x;
  Index height, width, out_h, out_w;
  Index kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
};

template <class T>
struct LrnArgs {
  Index channels, pixels;
  Index local_size;
  T alpha, beta, k;
};

/// Part of a kernels::UpdatePass.
template <class T>
struct UpdateRange {
  Index count;
  T* weights;
  const T* gradient;
  T* history;
  T* history2;
  T rate, decay, gradient_scale;
  bool l1;
  T momentum, gain, momentum2, gain2, delta, shrink;
};

struct Sums {
  double first, second;
};

/// The number of elements, their mean, and the sum of the squares of their distances from it.
struct Moments {
  double count, mean, squares;
};

/// A piece of a row on the way back through a normalisation. With h = (v - shift) * factor and g = dy * gamma, or dy
/// without gamma:
template <class T>
struct NormArgs {
  Index count;
  const T* v;
  T shift, factor;
  const T* gamma;
  const T* dy;
};

struct DropoutKey {
  uint64_t seed, sequence;
  /// A word below it keeps its element.
  uint64_t threshold;
};

template <class T>
struct HotTable {
  /// Elements of one vector.
  Index lanes;
  Index max_rows;

  void (*tiles_packed)(const TileArgs<T>&);
  void (*tiles_rows)(const TileArgs<T>&);
  void (*copy_block)(const CopyArgs<T>&);
  void (*unroll)(const UnrollArgs<T>&);
  void (*patches)(const PatchArgs<T>&);
  void (*fold)(const FoldArgs<T>&);
  void (*gradient)(const GradientArgs<T>&);
  /// dst[c * ldd + r] = src[r * lds + c]
  void (*transpose)(Index rows, Index columns, const T* src, Index lds, T* dst, Index ldd);
  /// The products of `rows` rows of w with one x: y[r] = sum_i w[r * ldw + i] * x[i].
  void (*dot)(Index rows, Index count, const T* w, Index ldw, const T* x, T* y);
  /// The same of pieces of one array: y[r] = sum_i w[offsets[r] + i] * x[i].
  void (*dot_pieces)(Index rows, Index count, const T* w, const int32_t* offsets, const T* x, T* y);

  /// The changes of a convolution by minimal filtering: of the input, and of its gradient, which is added to dst; of
  /// the products, the gradient of the output, the weights, and the gradient of the changed weights.
  void (*winograd_input)(FilterForm, const FilterArgs<T>&);
  void (*winograd_input_gradient)(FilterForm, const FilterArgs<T>&);
  void (*winograd_output)(FilterForm, const FilterArgs<T>&);
  void (*winograd_gradient)(FilterForm, const FilterArgs<T>&);
  void (*winograd_weights)(FilterForm, const FilterArgs<T>&);
  void (*winograd_weight_gradient)(FilterForm, const FilterArgs<T>&);

  /// Windows of 2x2 with stride 2 inside the plane; mask null or the winner's number 0 to 3.
  void (*max_pool_2x2)(Index out_h, Index out_w, Index width, const T* x, T* y, uint8_t* mask);
  void (*max_pool_2x2_backward)(
      Index out_h, Index out_w, Index height, Index width, const T* dy, const uint8_t* mask, T* dx);
  /// mask null or the winners' places in the plane, -1 for a window that is all padding.
  void (*max_pool)(const PoolRowArgs<T>&, T* y, int32_t* mask);
  void (*average_pool)(const PoolRowArgs<T>&, T* y);
  /// Overwrites dx; args.x is not read.
  void (*average_pool_backward)(const PoolRowArgs<T>&, const T* dy, T* dx);

  /// One image, channels `pixels` apart; works on the pixels [begin, end).
  void (*lrn_across)(const LrnArgs<T>&, Index begin, Index end, const T* x, T* y, T* state);
  /// ratio: room for channels * (end - begin) elements.
  void (*lrn_across_backward)(
      const LrnArgs<T>&, Index begin, Index end, const T* x, const T* y, const T* state, const T* dy, T* dx, T* ratio);
  /// y = x * state^-beta
  void (*lrn_scale)(Index count, T beta, const T* state, const T* x, T* y);

  void (*relu)(Index count, T slope, const T* x, T* y);
  void (*relu_backward)(Index count, T slope, const T* gate, const T* dy, T* dx);
  /// Elements first to first + count of a stream, first a multiple of 4.
  void (*dropout)(const DropoutKey&, Index first, Index count, T scale, const T* x, T* y);
  /// y = a * x, y += a * x, y = x1 * x2
  void (*scale)(Index count, T a, const T* x, T* y);
  void (*axpy)(Index count, T a, const T* x, T* y);
  void (*multiply)(Index count, const T* x1, const T* x2, T* y);
  /// y = max(x1, x2), NaN where either is.
  void (*maximum)(Index count, const T* x1, const T* x2, T* y);
  double (*sum_squares)(Index count, const T* x);
  void (*sgd)(const UpdateRange<T>&);
  void (*nesterov)(const UpdateRange<T>&);
  void (*rmsprop)(const UpdateRange<T>&);
  void (*adadelta)(const UpdateRange<T>&);
  void (*adam)(const UpdateRange<T>&);

  /// y = scale * x + bias; `each`: with one scale and one bias for each element, of which one may be null.
  void (*affine)(Index count, T scale, T bias, const T* x, T* y);
  void (*affine_each)(Index count, const T* scale, const T* bias, const T* x, T* y);
  /// The sums of dy * x and of dy; dx = scale * dy, unless it is null. `each`: products[i] += dy * x, sums[i] += dy;
  /// null for a scale of 1 and for what is not wanted.
  Sums (*affine_backward)(Index count, T scale, const T* x, const T* dy, T* dx);
  void (*affine_backward_each)(
      Index count, const T* scale, const T* x, const T* dy, T* dx, double* products, double* sums);
  /// y = x > 0 ? x : slope * x; with one slope it is relu.
  void (*prelu_each)(Index count, const T* slope, const T* x, T* y);
  /// The sum of dy * x where x is not above 0; dx, unless it is null. `each`: products[i] += that, unless null.
  double (*prelu_backward)(Index count, T slope, const T* x, const T* dy, T* dx);
  void (*prelu_backward_each)(Index count, const T* slope, const T* x, const T* dy, T* dx, double* products);

  /// Takes the elements in.
  void (*moments)(Index count, const T* x, Moments* total);
  /// squares[i] += (x - mean[i])^2
  void (*squares_each)(Index count, const double* mean, const T* x, double* squares);
  /// y = (x - shift) * factor
  void (*center)(Index count, T shift, T factor, const T* x, T* y);
  void (*center_each)(Index count, const T* shift, const T* factor, const T* x, T* y);
  /// y = (x - shift) * factor * gamma + beta
  void (*center_affine)(Index count, T shift, T factor, const T* gamma, const T* beta, const T* x, T* y);
  /// The sums of g and of g * h.
  Sums (*norm_sums)(const NormArgs<T>&);
  /// dgamma[i] += dy * h, dbeta[i] += dy
  void (*norm_learned)(const NormArgs<T>&, double* dgamma, double* dbeta);
  /// dx = scale * (g - mean - slope * h)
  void (*norm_backward)(const NormArgs<T>&, T mean, T slope, T scale, T* dx);
  /// dx = scale * (dy - mean - slope * y)
  void (*norm_backward_each)(
      Index count, const T* mean, const T* slope, const T* scale, const T* y, const T* dy, T* dx);

  /// Multiply-adds on registers alone: 2 * lanes * steps * peak_chains operations. The result is to be looked at.
  T (*peak)(Index steps);
  Index peak_chains;
};

struct Hot {
  HotTable<float> f32;
  HotTable<double> f64;
};

const Hot& hot_portable();
const Hot& hot_v3();
const Hot& hot_v4();

}  // namespace sparknet::kernels::cpu
