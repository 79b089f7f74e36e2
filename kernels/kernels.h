#pragma once

// The arithmetic, below everything: plans and plain functions on raw pointers and sizes.
// C++17 and nothing but the standard library, so that any compiler of any backend can read it.
// Nothing here checks shapes: that is done above, in one place for every backend.
//
// Pointers are to elements of the DType that the plan or call was given: F32 or F64. Tensors are dense and row-major
// (images are NCHW, convolution weights are [num_output, channels / group, kernel_h, kernel_w], inner-product weights
// are [num_output, inputs]). `scratch` is 64-byte aligned memory of at least the plan's scratch_bytes(), whose contents
// mean nothing before and after a call. Where `accumulate` is true a gradient is added to, otherwise overwritten.
// The same inputs on the same number of threads give the same bits.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "sparknet/dtype.h"

namespace sparknet::kernels {

using Index = std::int64_t;

/// What follows the arithmetic of a convolution or an inner product in the same pass.
struct Activation {
  bool relu = false;
  /// y = x > 0 ? x : negative_slope * x. Not below 0, so that the output tells the sign of the input.
  double negative_slope = 0;
};

struct ConvolutionShape {
  Index batch, channels, height, width;
  Index num_output;
  Index kernel_h, kernel_w;
  Index stride_h = 1, stride_w = 1;
  Index pad_h = 0, pad_w = 0;
  Index dilation_h = 1, dilation_w = 1;
  Index group = 1;

  Index out_h() const { return (height + 2 * pad_h - (dilation_h * (kernel_h - 1) + 1)) / stride_h + 1; }
  Index out_w() const { return (width + 2 * pad_w - (dilation_w * (kernel_w - 1) + 1)) / stride_w + 1; }
};

/// The pointers of a backward pass of a convolution or an inner product.
struct BackwardArgs {
  const void* x;
  const void* weights;
  /// The forward output; read only where the plan has an activation.
  const void* y;
  /// The gradient of y. Where the plan has an activation it is overwritten with the gradient before the activation.
  void* dy;
  /// The gradient of x, overwritten; null where nobody needs it.
  void* dx;
  /// Null where the weights do not learn.
  void* dweights;
  /// Null where there is no bias or it does not learn.
  void* dbias;
  bool accumulate;
};

/// A convolution or an inner product, planned for one shape.
class Linear {
 public:
  virtual ~Linear() = default;
  virtual std::size_t scratch_bytes() const = 0;
  /// `bias` may be null.
  virtual void forward(const void* x, const void* weights, const void* bias, void* y, void* scratch) = 0;
  virtual void backward(const BackwardArgs& args, void* scratch) = 0;
};

struct InnerProductShape {
  Index batch, inputs, num_output;
  /// The weights are [inputs, num_output].
  bool transposed = false;
};

enum class PoolMethod : std::uint8_t { Max, Average };

struct PoolingShape {
  Index batch, channels, height, width;
  /// Given, not derived: the rounding mode is a matter of the layer. The last window starts inside the padded image.
  Index out_h, out_w;
  Index kernel_h, kernel_w;
  Index stride_h = 1, stride_w = 1;
  Index pad_h = 0, pad_w = 0;
};

/// Max or average pooling. The average counts padding as Caffe does: a window is clipped to the padded image, its area
/// is the divisor, and padding adds nothing. Max ignores padding; of equal elements the first wins.
class Pooling {
 public:
  virtual ~Pooling() = default;
  /// Bytes of the state that forward leaves for backward; 0 for the average.
  virtual std::size_t mask_bytes() const = 0;
  /// `mask` may be null where no backward follows.
  virtual void forward(const void* x, void* y, void* mask) = 0;
  virtual void backward(const void* dy, const void* mask, void* dx) = 0;
};

enum class LrnRegion : std::uint8_t { AcrossChannels, WithinChannel };

struct LrnShape {
  Index batch, channels, height, width;
  Index local_size = 5;
  double alpha = 1, beta = 0.75, k = 1;
  LrnRegion region = LrnRegion::AcrossChannels;
};

/// y = x / (k + alpha / n * sum x^2)^beta over a window of local_size channels (n = local_size), or of
/// local_size x local_size pixels of one channel (n = local_size^2), zero-padded. Krizhevsky et al. 2012.
class Lrn {
 public:
  virtual ~Lrn() = default;
  /// Bytes of the state that forward leaves for backward.
  virtual std::size_t state_bytes() const = 0;
  virtual void forward(const void* x, void* y, void* state) = 0;
  virtual void backward(const void* x, const void* y, const void* state, const void* dy, void* dx) = 0;
};

struct SoftmaxShape {
  /// The elements of one distribution are `inner` apart: x[outer][classes][inner].
  Index outer, classes, inner = 1;
};

struct LossResult {
  /// The sum of -log p(label) over the examples that count.
  double sum = 0;
  /// How many examples count: all, less those with the ignored label.
  Index valid = 0;
  /// The first example (0 <= i < outer * inner) whose label is no integer in [0, classes), or -1; then nothing else
  /// holds.
  Index bad_label = -1;
};

enum class EltwiseOp : std::uint8_t { Sum, Product, Max };

/// Elements that lie in a box in each of two places: element [i, j, ...] is i * from_step[0] + j * from_step[1] + ...
/// elements behind the start of the one, and likewise of the other. No step is negative.
struct Box {
  static constexpr int kMaxRank = 12;

  int rank = 0;
  Index size[kMaxRank] = {}, from_step[kMaxRank] = {}, to_step[kMaxRank] = {};

  /// Adds an axis inside of those that there are.
  void add(Index axis_size, Index step_of_from, Index step_of_to) {
    size[rank] = axis_size;
    from_step[rank] = step_of_from;
    to_step[rank] = step_of_to;
    ++rank;
  }
  /// The way back.
  Box reversed() const {
    Box box;
    for (int d = 0; d < rank; ++d) box.add(size[d], to_step[d], from_step[d]);
    return box;
  }
};

/// Functions of one number.
enum class MapKind : std::uint8_t {
  Abs,       // |x|, whose slope at 0 is 0
  Affine,    // a x + b
  Clip,      // x, but not below a and not above b; the slope at a and at b is 1
  Constant,  // a
  Elu,       // x > 0 ? x : a (e^x - 1)
  Exp,       // e^(a x + b)
  Gelu,      // x P(x), P being the standard normal distribution
  GeluTanh,  // x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
  Log,       // c log(a x + b)
  Power,     // (a x + b)^c
  Sigmoid,   // 1 / (1 + e^-x)
  Softplus,  // log(1 + e^x)
  Step,      // x > a ? 1 : 0, whose slope is 0
  Swish,     // x / (1 + e^(-a x))
  Tanh,
};
struct Map {
  MapKind kind;
  double a = 0, b = 0, c = 0;
};

/// What the slope of a map is computed from: y where y tells enough, so that x need not be kept.
enum class MapOperand : std::uint8_t { Nothing, X, Y };
constexpr MapOperand slope_operand(const Map& map) {
  switch (map.kind) {
    case MapKind::Affine:
    case MapKind::Constant:
    case MapKind::Step: return MapOperand::Nothing;
    case MapKind::Exp:
    case MapKind::Sigmoid:
    case MapKind::Softplus:
    case MapKind::Tanh: return MapOperand::Y;
    case MapKind::Elu: return map.a >= 0 ? MapOperand::Y : MapOperand::X;
    case MapKind::Abs:
    case MapKind::Clip:
    case MapKind::Gelu:
    case MapKind::GeluTanh:
    case MapKind::Log:
    case MapKind::Power:
    case MapKind::Swish: break;
  }
  return MapOperand::X;
}

enum class ReduceOp : std::uint8_t { Sum, AbsSum, SquareSum };

/// Rows of a table [input_dim, num_output], looked up by `count` indices.
struct EmbedShape {
  Index count, input_dim, num_output;
};

/// The cells of an LSTM, one step of `batch` sequences. The gates are [batch, 4 * hidden]: i, f, o, g.
struct LstmShape {
  Index batch, hidden;
};
/// i, f, o = sigmoid of the gates' sums, g = tanh of them;  c = cont * f * c_prev + i * g;  h = o * tanh(c).
struct LstmForward {
  /// What is summed for the gates; the second and third may be null.
  const void* sums[3];
  /// One for each sequence. Where it is 0, c_prev does not matter whatever it is.
  const void* cont;
  const void* c_prev;
  /// i, f, o, g; may be sums[0].
  void* gates;
  void* c;
  void* tanh_c;
  void* h;
};
struct LstmBackward {
  const void* cont;
  const void* c_prev;
  const void* gates;
  const void* tanh_c;
  /// The gradient of h is the sum of both; the second may be null.
  const void* dh[2];
  /// The gradient of c from the steps behind it.
  const void* dc;
  /// The gradient of the gates' sums; may be `gates`.
  void* dsums;
  /// The gradient of c_prev; may be `dc`.
  void* dc_prev;
};

enum class UpdateKind : std::uint8_t { Sgd, Nesterov, RmsProp, AdaDelta, Adam };

/// One pass of an update rule. With r = l1 ? sign(w) : w and g' = gradient_scale * g + decay * r:
///   Sgd       h = momentum * h + rate * g';  w -= h
///   Nesterov  h' = momentum * h + rate * g';  w -= (1 + momentum) * h' - momentum * h;  h = h'
///   RmsProp   h = momentum * h + gain * g'^2;  w -= rate * g' / (sqrt(h) + delta)
///   AdaDelta  h = momentum * h + gain * g'^2;  u = g' * sqrt((h2 + delta) / (h + delta));
///             h2 = momentum * h2 + gain * u^2;  w -= rate * u
///   Adam      h = momentum * h + gain * g';  h2 = momentum2 * h2 + gain2 * g'^2;
///             w -= rate * h / (sqrt(h2) + delta) + shrink * r
struct UpdatePass {
  UpdateKind kind = UpdateKind::Sgd;
  Index count = 0;
  void* weights = nullptr;
  const void* gradient = nullptr;
  void* history = nullptr;
  /// Null where the rule has but one.
  void* history2 = nullptr;
  double rate = 0, decay = 0, gradient_scale = 1;
  bool l1 = false;
  double momentum = 0, gain = 0, momentum2 = 0, gain2 = 0, delta = 0, shrink = 0;
};

/// A place where nets run: it holds memory, makes plans and does the element-wise work. One for each net; calls on one
/// backend are made from one thread at a time, and two backends do not disturb each other.
class Backend {
 public:
  virtual ~Backend() = default;

  /// How many threads share the work; 1 on a device that is no CPU.
  virtual int threads() const = 0;
  /// A short name of what was chosen at run time, such as "cpu x86-64-v4, 2 threads".
  virtual const char* description() const = 0;

  /// Zeroed memory aligned to 64 bytes or better; throws std::bad_alloc.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;

  virtual std::unique_ptr<Linear> convolution(DType, const ConvolutionShape&, Activation) = 0;
  virtual std::unique_ptr<Linear> inner_product(DType, const InnerProductShape&, Activation) = 0;
  virtual std::unique_ptr<Pooling> pooling(DType, const PoolingShape&, PoolMethod) = 0;
  virtual std::unique_ptr<Lrn> lrn(DType, const LrnShape&) = 0;

  // x and y, or dy and dx, may be the same memory in the element-wise calls.

  virtual void relu(DType, Index count, double negative_slope, const void* x, void* y) = 0;
  /// dx = gate > 0 ? dy : negative_slope * dy. `gate` is x, or y where negative_slope >= 0.
  virtual void relu_backward(DType, Index count, double negative_slope, const void* gate, const void* dy, void* dx) = 0;

  /// y = map(x)
  virtual void map(DType, const Map& map, Index count, const void* x, void* y) = 0;
  /// dx = dy * the slope of the map. `operand` is what slope_operand(map) names; null where that is nothing.
  virtual void map_backward(DType, const Map& map, Index count, const void* operand, const void* dy, void* dx) = 0;

  /// y = kept ? x * scale : 0, where element i is kept with probability `keep` by word i of the Philox4x32-10 stream
  /// (seed, sequence). Backward is the same call on dy: no mask is stored.
  virtual void dropout(
      DType, Index count, double keep, double scale, std::uint64_t seed, std::uint64_t sequence, const void* x,
      void* y) = 0;

  virtual void softmax(DType, const SoftmaxShape&, const void* x, void* y) = 0;
  virtual void softmax_backward(DType, const SoftmaxShape&, const void* y, const void* dy, void* dx) = 0;
  /// `labels` are outer * inner numbers of the same DType. `ignore` is counted out where `has_ignore`.
  virtual LossResult softmax_loss(
      DType, const SoftmaxShape&, const void* prob, const void* labels, bool has_ignore, Index ignore) = 0;
  /// dx = (prob - onehot(label)) * scale, and 0 for ignored examples.
  virtual void softmax_loss_backward(
      DType, const SoftmaxShape&, const void* prob, const void* labels, bool has_ignore, Index ignore, double scale,
      void* dx) = 0;

  /// y = op over `inputs` arrays; `coeff` (one for each input) is read for Sum only.
  virtual void eltwise(
      DType, EltwiseOp, Index count, int inputs, const void* const* x, const double* coeff, void* y) = 0;
  /// The gradient of input number `input`. Max gives the whole gradient to the first of the largest.
  virtual void eltwise_backward(
      DType, EltwiseOp, Index count, int inputs, const void* const* x, const double* coeff, int input, const void* dy,
      void* dx) = 0;

  /// Copies a box between two arrays that do not overlap. A step of 0 in `from` repeats; in `to` all elements are at
  /// places of their own.
  virtual void copy_box(DType, const Box& box, const void* from, void* to) = 0;
  /// Sets a box of `to` to `value`; the steps in `from` mean nothing.
  virtual void fill_box(DType, const Box& box, double value, void* to) = 0;
  /// The sums over the axes whose step in `to` is 0: what copy_box repeated is added up, in the order of the box.
  virtual void sum_box(DType, const Box& box, const void* from, void* to) = 0;
  /// Copies `rows` rows of `row_bytes` between arrays whose rows are `to_stride` and `from_stride` bytes apart.
  virtual void copy_rows(
      Index rows, std::size_t row_bytes, const void* from, std::size_t from_stride, void* to,
      std::size_t to_stride) = 0;

  /// y[outer] = scale * the sum over [outer][inner] of x, |x| or x^2.
  virtual void reduce(DType, ReduceOp op, Index outer, Index inner, double scale, const void* x, void* y) = 0;
  /// dx[outer][inner]; the slope of |x| at 0 is 0. `x` may be null for Sum.
  virtual void reduce_backward(
      DType, ReduceOp op, Index outer, Index inner, double scale, const void* x, const void* dy, void* dx) = 0;

  /// y[i] = weights[indices[i]] + bias, row by row. The indices are numbers of the same DType; `bias` may be null.
  /// Returns the first i whose index is no integer in [0, input_dim), or -1; then nothing else holds.
  virtual Index embed(
      DType, const EmbedShape&, const void* indices, const void* weights, const void* bias, void* y) = 0;
  /// `dweights` and `dbias` may be null. The indices are good.
  virtual void embed_backward(
      DType, const EmbedShape&, const void* indices, const void* dy, void* dweights, void* dbias, bool accumulate) = 0;

  virtual void lstm(DType, const LstmShape&, const LstmForward&) = 0;
  virtual void lstm_backward(DType, const LstmShape&, const LstmBackward&) = 0;
  /// y[row] = gate[row] * x[row], and 0 where the gate is 0, whatever x is. x and y may be the same memory.
  virtual void gate_rows(DType, Index rows, Index columns, const void* gate, const void* x, void* y) = 0;

  /// y += a * x
  virtual void axpy(DType, Index count, double a, const void* x, void* y) = 0;
  /// The sum of squares, accumulated in double.
  virtual double sum_squares(DType, Index count, const void* x) = 0;
  virtual void update(DType, const UpdatePass&) = 0;
};

/// The instruction sets the CPU kernels are built for: Portable is the compiler's baseline, V3 has AVX2 and FMA,
/// V4 has AVX-512 (the levels of the x86-64 psABI).
enum class Isa : std::uint8_t { Portable, V3, V4 };

/// The best one this machine runs.
Isa best_isa();

/// A CPU backend with a crew of `threads` >= 1 threads of its own, the caller's included.
/// Throws std::invalid_argument for an instruction set above best_isa().
std::unique_ptr<Backend> make_cpu_backend(int threads, Isa isa);
inline std::unique_ptr<Backend> make_cpu_backend(int threads) {
  return make_cpu_backend(threads, best_isa());
}

}  // namespace sparknet::kernels
