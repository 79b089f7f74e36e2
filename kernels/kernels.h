#pragma once

// The arithmetic, below everything: plans and plain functions on raw pointers and sizes.
// C++17 and nothing but the standard library, so that any compiler of any backend can read it.
// Nothing here checks shapes: that is done above, in one place for every backend.
//
// Pointers are to elements of the DType that the plan or call was given: F32 or F64. A GPU takes BF16 too in
// convolutions, inner products, pooling, normalisations over batches and LRN, channels, and what is done element by
// element or copies; then x, y and their gradients are BF16, while parameters, their gradients, running moments and
// states are F32, and all sums are of F32 or better. Tensors are dense and row-major
// (images are NCHW, convolution weights are [num_output, channels / group, kernel_h, kernel_w], inner-product weights
// are [num_output, inputs]). A GPU takes images that are NHWC too, where a shape says so; weights are as ever then.
// `scratch` is 64-byte aligned memory of at least the plan's scratch_bytes(), whose contents mean nothing before and
// after a call. Where `accumulate` is true a gradient is added to, otherwise overwritten.
// The same inputs give the same bits, on any number of threads. (Those of two instruction sets differ.)

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>

#include "sparknet/dtype.h"

namespace sparknet::kernels {

using Index = std::int64_t;

/// What follows the arithmetic of an operation in the same pass.
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
  /// Of x and y, on a GPU.
  bool nhwc = false;

  Index out_h() const { return (height + 2 * pad_h - (dilation_h * (kernel_h - 1) + 1)) / stride_h + 1; }
  Index out_w() const { return (width + 2 * pad_w - (dilation_w * (kernel_w - 1) + 1)) / stride_w + 1; }
};

constexpr int kMaxSpatialAxes = 11;

/// Windows over any number of spatial axes, none included, outermost first: x is [batch, channels, size...].
struct WindowShape {
  using Sizes = std::array<Index, kMaxSpatialAxes>;
  Index batch, channels;
  int axes;
  Sizes size, kernel, stride, pad, dilation;

  Index out(int axis) const {
    const auto a = static_cast<std::size_t>(axis);
    return (size[a] + 2 * pad[a] - (dilation[a] * (kernel[a] - 1) + 1)) / stride[a] + 1;
  }
  /// Elements of a channel of one image, of a kernel, and windows.
  Index pixels() const {
    return product([this](int axis) { return size[static_cast<std::size_t>(axis)]; });
  }
  Index taps() const {
    return product([this](int axis) { return kernel[static_cast<std::size_t>(axis)]; });
  }
  Index positions() const {
    return product([this](int axis) { return out(axis); });
  }

 private:
  template <class F>
  Index product(F&& f) const {
    Index count = 1;
    for (int axis = 0; axis < axes; ++axis) count *= f(axis);
    return count;
  }
};

/// Weights are [num_output, channels / group, kernel...].
struct ConvolutionNdShape {
  WindowShape window;
  Index num_output;
  Index group = 1;
};

/// The same convolution over two axes, of which it has no more; those that it lacks are of one element.
inline ConvolutionShape flat(const ConvolutionNdShape& shape) {
  const WindowShape& window = shape.window;
  const auto last = [&](const WindowShape::Sizes& sizes, int back, Index otherwise) {
    return window.axes >= back ? sizes[static_cast<std::size_t>(window.axes - back)] : otherwise;
  };
  return {
      window.batch,
      window.channels,
      last(window.size, 2, 1),
      last(window.size, 1, 1),
      shape.num_output,
      last(window.kernel, 2, 1),
      last(window.kernel, 1, 1),
      last(window.stride, 2, 1),
      last(window.stride, 1, 1),
      last(window.pad, 2, 0),
      last(window.pad, 1, 0),
      last(window.dilation, 2, 1),
      last(window.dilation, 1, 1),
      shape.group};
}

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

/// The forward pass of a convolution whose weights stay the same: they are brought once into the form that it reads.
class PreparedLinear {
 public:
  virtual ~PreparedLinear() = default;
  virtual std::size_t scratch_bytes() const = 0;
  virtual std::size_t prepared_bytes() const = 0;
  /// The weights are on the host.
  virtual void prepare(const void* weights, void* prepared, void* scratch) = 0;
  /// `bias` may be null.
  virtual void forward(const void* x, const void* prepared, const void* bias, void* y, void* scratch) = 0;
};

struct InnerProductShape {
  Index batch, inputs, num_output;
  /// The weights are [inputs, num_output].
  bool transposed = false;
};

enum class PoolMethod : std::uint8_t { Max, Average, Stochastic };

/// Part of the Philox4x32-10 stream (seed, sequence), from word `first` on.
struct RandomWords {
  std::uint64_t seed, sequence, first = 0;
};

struct PoolingShape {
  Index batch, channels, height, width;
  /// Given, not derived: the rounding mode is a matter of the layer. The last window starts inside the padded image.
  Index out_h, out_w;
  Index kernel_h, kernel_w;
  Index stride_h = 1, stride_w = 1;
  Index pad_h = 0, pad_w = 0;
  /// Of x, y and the mask, on a GPU.
  bool nhwc = false;
};

/// Max, average or stochastic pooling. The average counts padding as Caffe does: a window is clipped to the padded
/// image, its area is the divisor, and padding adds nothing. Max ignores padding; of equal elements the first wins.
/// Stochastic (Zeiler and Fergus 2013) takes an element of the window with a probability in proportion to its value, of
/// values that are not negative, or the mean with those weights; 0 for a window of zeros. It takes no padding.
class Pooling {
 public:
  virtual ~Pooling() = default;
  /// Bytes of the state that forward leaves for backward; 0 for the average.
  virtual std::size_t mask_bytes() const = 0;
  /// `mask` may be null where no backward follows; it is for Stochastic, which takes the mean here.
  virtual void forward(const void* x, void* y, void* mask) = 0;
  /// forward, but Stochastic draws for output i, as it is counted in NCHW, by word i of `words` and writes a mask.
  virtual void forward_random(const void* x, void* y, void* mask, const RandomWords&) { forward(x, y, mask); }
  virtual void backward(const void* dy, const void* mask, void* dx) = 0;
  /// For each output the place of its element in the plane as a number of the DType, or of F32 where that is BF16,
  /// which does not hold it; -1 for a window of padding. Not for the average.
  virtual void places(const void* mask, void* y) const = 0;
};

enum class LrnRegion : std::uint8_t { AcrossChannels, WithinChannel };

struct LrnShape {
  Index batch, channels, height, width;
  Index local_size = 5;
  double alpha = 1, beta = 0.75, k = 1;
  LrnRegion region = LrnRegion::AcrossChannels;
  /// Of x, y and the state, on a GPU.
  bool nhwc = false;
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

/// What a loss leaves for its backward pass.
struct LossState {
  /// Over the examples that count.
  double sum = 0;
  /// How many examples count: all, less those with the ignored label.
  Index valid = 0;
};

/// Losses of an array x[outer][classes][inner] and a label for each [outer][inner].
enum class LossKind : std::uint8_t {
  // x is the difference of two feature vectors, [pairs][features][1], and the whole part of a label tells whether they
  // belong together: |x|^2 where it is not 0, and otherwise
  Contrastive,         // max(margin - |x|, 0)^2, where the gradient is divided by |x| + 1e-4 instead of |x|
  ContrastiveSquares,  // max(margin - |x|^2, 0)
  // x is the difference of two arrays, and there are no labels: x^2 / 2.
  Euclidean,
  // The sum over the classes of m = max(1 - x, 0) for the label's, max(1 + x, 0) for the others; or of m^2.
  Hinge,
  HingeSquares,
  // x is softmax(scores), of which the gradient is taken: the sum over the classes of -matrix[label][class] * log(x).
  Infogain,
  // -log(x[label])
  Logistic,
  // x and labels, which are targets here, have the same size: log(1 + e^x) - target * x. A target is ignored by its
  // whole part.
  SigmoidCrossEntropy,
  // x is softmax(scores), of which the gradient is taken: -log(x[label])
  Softmax,
  // The same, where every class is the label by smoothing / classes and the label itself by 1 - smoothing more.
  SmoothSoftmax,
};

/// The least probability that Infogain and Logistic take a logarithm of.
constexpr double kLeastProbability = 1e-20;

struct LossPass {
  LossKind kind;
  SoftmaxShape shape = {};
  const void* x = nullptr;
  const void* labels = nullptr;
  /// What the sum is divided by; 0 stands for the number of examples that count, or 1 where none does.
  double divisor = 1;
  /// Labels of this value do not count; not for Contrastive, ContrastiveSquares and Euclidean.
  bool has_ignore = false;
  Index ignore = 0;
  /// Infogain: [classes][classes].
  const void* matrix = nullptr;
  /// SmoothSoftmax: read by the forward pass alone.
  const void* scores = nullptr;
  double smoothing = 0;
  /// Contrastive and ContrastiveSquares.
  double margin = 0;
};

/// The share of examples whose label is among the top_k classes with the best scores, where classes with an equal score
/// come before the label's; NaN is no score worse than another.
struct AccuracyPass {
  SoftmaxShape shape;
  const void* scores = nullptr;
  const void* labels = nullptr;
  bool has_ignore = false;
  Index ignore = 0;
  Index top_k = 1;
  /// One number, 0 where no example counts, and, unless null, one for the examples of each class.
  void* share = nullptr;
  void* class_shares = nullptr;
  /// accuracy_scratch() numbers that mean nothing before and after.
  Index* scratch = nullptr;
};
constexpr Index accuracy_scratch(const SoftmaxShape& shape) {
  return 2 * (1 + shape.classes);
}

/// The places of the top_k largest of `count` numbers that are `inner` apart, x[outer][count][inner], largest first; of
/// equal ones the last is first, and NaN is larger than everything.
struct ArgMaxShape {
  Index outer, count, inner, top_k;
  /// Values: y[outer][top_k][inner] is the numbers instead of their places. Pairs: y[outer][2][top_k] is both, and
  /// inner is 1.
  enum class Top : std::uint8_t { Places, Values, Pairs } top = Top::Places;
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

/// x[outer][channels][inner], where one number of an operand goes with a whole channel.
struct ChannelShape {
  Index outer, channels, inner;
};

/// The pointers of a backward pass of Channels.
struct ChannelGradients {
  /// May be null where dfactor is.
  const void* x;
  /// Scale or slope; null for a scale of 1.
  const void* factor;
  const void* dy;
  /// Overwritten; null where nobody needs it.
  void* dx;
  /// Null where they do not learn.
  void* dfactor;
  void* dbias;
  bool accumulate_factor, accumulate_bias;
};

/// Arithmetic with one number, or two, for each channel. y may be x and dx may be dy.
class Channels {
 public:
  virtual ~Channels() = default;
  /// Of a backward pass.
  virtual std::size_t scratch_bytes() const = 0;
  /// y = scale[c] * x + bias[c]; without a scale it is 1, without a bias 0.
  virtual void affine(const void* x, const void* scale, const void* bias, void* y) = 0;
  virtual void affine_backward(const ChannelGradients& args, void* scratch) = 0;
  /// y = x > 0 ? x : slope[c] * x
  virtual void prelu(const void* x, const void* slope, void* y) = 0;
  /// There is no dbias, and x is read.
  virtual void prelu_backward(const ChannelGradients& args, void* scratch) = 0;
};

/// What a batch normalisation keeps of the batches it has seen: sums of means and of variances, one for each channel,
/// and the one number that they are to be divided by.
struct RunningMoments {
  void* mean;
  void* variance;
  void* factor;
};

/// y = (x - mean[c]) / sqrt(variance[c] + eps), over x[outer][channels][inner]. Ioffe and Szegedy 2015, without scale
/// and shift. y may be x and dx may be dy.
class BatchNorm {
 public:
  virtual ~BatchNorm() = default;
  /// Bytes of the state that forward leaves for backward.
  virtual std::size_t state_bytes() const = 0;
  /// By the moments of this batch of n numbers for each channel, which the running ones take in:
  ///   mean = fade * mean + m;  variance = fade * variance + v * n / (n - 1);  factor = fade * factor + 1
  virtual void forward(const void* x, double fade, const RunningMoments& running, void* y, void* state) = 0;
  virtual void backward(const void* y, void* state, const void* dy, void* dx) = 0;
  /// By the running moments, which are 0 where the factor is.
  virtual void forward_by_running(const void* x, const RunningMoments& running, void* y, void* state) = 0;
  virtual void backward_by_running(const void* state, const void* dy, void* dx) = 0;
};

/// The pointers of a backward pass of a ScaledBatchNorm.
struct ScaledBatchNormGradients {
  const void* x;
  /// The forward output; read only where the plan has an activation.
  const void* y;
  const void* scale;
  const void* dy;
  /// Overwritten; null where nobody needs it.
  void* dx;
  /// Null where they do not learn.
  void* dscale;
  void* dbias;
  bool accumulate;
};

/// y = act(scale[c] * h + bias[c]), h being what BatchNorm makes of x: three layers in one.
/// `bias` may be null, and y may be x where no backward follows.
class ScaledBatchNorm {
 public:
  virtual ~ScaledBatchNorm() = default;
  /// As of BatchNorm.
  virtual std::size_t state_bytes() const = 0;
  /// Of a backward pass.
  virtual std::size_t scratch_bytes() const = 0;
  virtual void forward(
      const void* x, double fade, const RunningMoments& running, const void* scale, const void* bias, void* y,
      void* state) = 0;
  virtual void backward(const ScaledBatchNormGradients& args, const void* state, void* scratch) = 0;
  virtual void forward_by_running(
      const void* x, const RunningMoments& running, const void* scale, const void* bias, void* y, void* state) = 0;
  virtual void backward_by_running(const ScaledBatchNormGradients& args, const void* state, void* scratch) = 0;
  /// y once more, by the state that either forward left.
  virtual void recompute(const void* x, const void* scale, const void* bias, void* y, const void* state) = 0;
};

enum class NormDivisor : std::uint8_t {
  One,
  Variance,   // sqrt(variance + eps)
  Deviation,  // sqrt(variance) + eps
};

struct LayerNormShape {
  Index rows, size;
  NormDivisor divisor = NormDivisor::Variance;
  double eps = 1e-5;
  /// y = gamma[i] * (x - mean) / divisor + beta[i] instead of (x - mean) / divisor.
  bool affine = false;
};

/// The pointers of a backward pass of a LayerNorm.
struct LayerNormGradients {
  /// x where the plan is affine, else y; not read where it is not affine and its divisor is One.
  const void* operand;
  const void* gamma;
  const void* dy;
  /// Overwritten; null where nobody needs it.
  void* dx;
  /// Null where they do not learn.
  void* dgamma;
  void* dbeta;
  bool accumulate;
};

/// Every row of x[rows][size] less its mean, by its own standard deviation. Ba, Kiros and Hinton 2016. y may be x and
/// dx may be dy.
class LayerNorm {
 public:
  virtual ~LayerNorm() = default;
  /// Bytes of the state that forward leaves for backward.
  virtual std::size_t state_bytes() const = 0;
  /// Of a backward pass.
  virtual std::size_t scratch_bytes() const = 0;
  /// gamma and beta are null where the plan is not affine.
  virtual void forward(const void* x, const void* gamma, const void* beta, void* y, void* state) = 0;
  virtual void backward(const LayerNormGradients& args, const void* state, void* scratch) = 0;
};

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
  /// A factor of gradient_scale that lies with the weights; null: 1.
  const double* gradient_factor = nullptr;
  /// Where this is not -1 nothing is updated; null: everything is.
  const Index* veto = nullptr;
  bool l1 = false;
  double momentum = 0, gain = 0, momentum2 = 0, gain2 = 0, delta = 0, shrink = 0;
};

/// What a batch of bytes stands for: y[n][c][h][w] = (x[n][c][h][w] - mean) * scale.
struct ByteBatch {
  /// Of y, of the mean and of the arithmetic; with BF16 those two are of F32.
  DType dtype = DType::F32;
  Index examples = 0, channels = 1, height = 1, width = 1;
  double scale = 1;
  /// `mean_count` values on the host, read when an Upload is made; that of [c][h][w] is at the sum of its indices times
  /// the steps.
  const void* mean = nullptr;
  Index mean_count = 0;
  Index mean_steps[3] = {0, 0, 0};
  /// Whether y was cut out of a larger image, over which the mean goes: then three numbers for each example follow the
  /// bytes at placements_at(), of 32 bits: its first row and column there, and 1 where it was mirrored, else 0.
  bool placed = false;

  Index count() const { return examples * channels * height * width; }
  std::size_t placements_at() const { return (static_cast<std::size_t>(count()) + 3) / 4 * 4; }
  std::size_t bytes() const { return placements_at() + (placed ? static_cast<std::size_t>(examples) * 12 : 0); }
};

/// A way for blocks of one size from the host into a backend's memory, while that works on what came before.
class Upload {
 public:
  virtual ~Upload() = default;
  /// Host memory to be filled; waits until an earlier block has left it.
  virtual void* buffer() = 0;
  /// What is in the buffer is at `to` for all work that is asked for from now on, unless *veto is not -1 by then.
  virtual void send(void* to, const Index* veto) = 0;
};

/// A way for blocks of one size back to the host.
class Download {
 public:
  virtual ~Download() = default;
  /// Takes what is at `from` after all work that was asked for. At most `depth` blocks may be on their way.
  virtual void start(const void* from) = 0;
  /// The block that was started first of those on their way, valid until `depth` more were started. Waits for it, and
  /// throws what went wrong before it.
  virtual const void* finish() = 0;
};

/// A place where nets run: it holds memory, makes plans and does the element-wise work. One for each net; calls on one
/// backend are made from one thread at a time, and two backends do not disturb each other. All pointers are into the
/// backend's memory, `state` and `verdict` too, unless it says that they are the host's. Work is done in the order in
/// which it is asked for; on a device that is not the host, some time after the call returned.
class Backend {
 public:
  virtual ~Backend() = default;

  /// Whether the memory is the host's, and work is done when a call returns.
  virtual bool on_host() const = 0;
  /// Copies to the host, when all work that was asked for is done. Throws what went wrong in it.
  virtual void read(void* host, const void* memory, std::size_t bytes) = 0;
  /// Copies from the host, whose memory may change afterwards.
  virtual void write(void* memory, const void* host, std::size_t bytes) = 0;
  virtual void copy(void* to, const void* from, std::size_t bytes) = 0;
  virtual void wait() = 0;
  virtual std::unique_ptr<Upload> upload(std::size_t bytes) = 0;
  /// For batches that go over as bytes() bytes and become numbers on the way; null where the memory is the host's.
  virtual std::unique_ptr<Upload> upload(const ByteBatch&) { return nullptr; }
  virtual std::unique_ptr<Download> download(std::size_t bytes, int depth) = 0;
  /// Between the two calls the same work is asked for every time, but for numbers: random words, and the scalars of
  /// updates. A backend may record it once and then repeat it as a whole.
  virtual void begin_step() {}
  virtual void end_step() {}
  /// Instead of end_step, where an exception ended the step.
  virtual void abandon_step() {}

  /// How many threads share the work; 1 on a device that is no CPU.
  virtual int threads() const = 0;
  /// A short name of what was chosen at run time, such as "cpu x86-64-v4, 2 threads".
  virtual const char* description() const = 0;

  /// Zeroed memory aligned to 64 bytes or better; throws std::bad_alloc.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;

  virtual std::unique_ptr<Linear> convolution(DType, const ConvolutionShape&, Activation) = 0;
  /// Null where nothing would be gained by preparing weights.
  virtual std::unique_ptr<PreparedLinear> prepared_convolution(DType, const ConvolutionShape&, Activation) {
    return nullptr;
  }
  virtual std::unique_ptr<Linear> convolution_nd(DType, const ConvolutionNdShape&, Activation) = 0;
  /// The gradient of a convolution with respect to its input as a layer of its own: x is shaped as the output of the
  /// convolution, y as its input, and the weights as its weights; there is a bias for each of its channels.
  virtual std::unique_ptr<Linear> deconvolution(DType, const ConvolutionShape&, Activation) = 0;
  virtual std::unique_ptr<Linear> deconvolution_nd(DType, const ConvolutionNdShape&, Activation) = 0;
  virtual std::unique_ptr<Linear> inner_product(DType, const InnerProductShape&, Activation) = 0;
  virtual std::unique_ptr<Pooling> pooling(DType, const PoolingShape&, PoolMethod) = 0;
  virtual std::unique_ptr<Lrn> lrn(DType, const LrnShape&) = 0;
  virtual std::unique_ptr<Channels> channels(DType, const ChannelShape&) = 0;
  virtual std::unique_ptr<BatchNorm> batch_norm(DType, const ChannelShape&, double eps) = 0;
  /// Whether scaled_batch_norm() can be asked for.
  virtual bool scales_batch_norm(const ChannelShape&) const { return false; }
  virtual std::unique_ptr<ScaledBatchNorm> scaled_batch_norm(DType, const ChannelShape&, double, Activation) {
    return nullptr;
  }
  virtual std::unique_ptr<LayerNorm> layer_norm(DType, const LayerNormShape&) = 0;

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

  /// *y = the sum of the losses, divided. The first example (0 <= i < outer * inner) whose label is no integer in
  /// [0, classes), or -1, goes to `verdict`: where it is not -1 nothing else holds. For Contrastive and
  /// ContrastiveSquares only NaN is no label, and for SigmoidCrossEntropy and Euclidean all are good.
  virtual void loss(DType, const LossPass&, void* y, LossState* state, Index* verdict) = 0;
  /// dx = factor * *dy * the gradient of the loss, and 0 where a label is ignored.
  virtual void loss_backward(
      DType, const LossPass&, double factor, const void* dy, const LossState* state, void* dx) = 0;

  virtual void accuracy(DType, const AccuracyPass&, Index* verdict) = 0;
  virtual void arg_max(DType, const ArgMaxShape&, const void* x, void* y) = 0;

  /// y = act(op over `inputs` arrays), and y may be one of them; `coeff` (one for each input) is read for Sum only.
  virtual void eltwise(
      DType, EltwiseOp, Index count, int inputs, const void* const* x, const double* coeff, Activation, void* y) = 0;
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
  /// The first i whose index is no integer in [0, input_dim), or -1, goes to `verdict`: where it is not -1 nothing else
  /// holds.
  virtual void embed(
      DType, const EmbedShape&, const void* indices, const void* weights, const void* bias, void* y,
      Index* verdict) = 0;
  /// `dweights` and `dbias` may be null. The indices are good.
  virtual void embed_backward(
      DType, const EmbedShape&, const void* indices, const void* dy, void* dweights, void* dbias, bool accumulate) = 0;

  /// places[i] = indices[i], which are numbers of the DType, or 0 where that is no integer in [0, limit): the first
  /// such i, or -1, goes to `verdict`.
  virtual void read_places(DType, Index count, Index limit, const void* indices, Index* places, Index* verdict) = 0;
  /// The items whose selector is not 0, in order: places[i] is the i-th of them, and -1 behind the last; where[i] is
  /// the place that item i got, or -1; *kept is their number, as a number of the DType, and may be null.
  virtual void select(DType, Index items, const void* selector, Index* places, Index* where, void* kept) = 0;
  /// Row i of `to` = row places[i] of `from`, and `pad` where that is -1.
  virtual void gather_rows(
      DType, Index rows, Index columns, const Index* places, const void* from, double pad, void* to) = 0;
  /// Row r of `to` = the sum of the rows i of `from` whose places[i] is r, in their order.
  virtual void scatter_rows(
      DType, Index count, Index columns, const Index* places, const void* from, Index rows, void* to) = 0;

  virtual void lstm(DType, const LstmShape&, const LstmForward&) = 0;
  virtual void lstm_backward(DType, const LstmShape&, const LstmBackward&) = 0;
  /// y[row] = gate[row] * x[row], and 0 where the gate is 0, whatever x is. x and y may be the same memory.
  virtual void gate_rows(DType, Index rows, Index columns, const void* gate, const void* x, void* y) = 0;

  /// columns[n][channel * taps + tap][position] = what `tap` of a kernel meets at `position`, 0 for padding.
  virtual void im2col(DType, const WindowShape&, const void* x, void* columns) = 0;
  /// The gradient of im2col: x is overwritten with the sums of the columns.
  virtual void col2im(DType, const WindowShape&, const void* columns, void* x) = 0;

  virtual bool takes_bf16() const { return false; }
  /// y[count] = x from the first type to the second, F32 and BF16, rounded to the nearest and halves to the even.
  virtual void convert(DType, DType, Index, const void*, void*) { throw std::logic_error("bf16 is for GPUs"); }
  /// y[outer][columns][rows] = x[outer][rows][columns], from the first type to the second as convert() does.
  virtual void transpose(DType, DType, Index, Index, Index, const void*, void*) {
    throw std::logic_error("nhwc is for GPUs");
  }
  /// y += a * x
  virtual void axpy(DType, Index count, double a, const void* x, void* y) = 0;
  /// *total += factor * the sum of x, added up in double.
  virtual void add_sum(DType, Index count, double factor, const void* x, double* total) = 0;
  /// *total += the sum of squares, added up in double.
  virtual void add_squares(DType, Index count, const void* x, double* total) = 0;
  /// *factor, which is the sum of squares of a vector, becomes what shortens the vector to `limit`: limit / its length,
  /// or 1 where it is no longer than that.
  virtual void clip_factor(double limit, double* factor) = 0;
  /// Where *veto is -1: the number of the first of the verdicts that is not -1, or -1.
  virtual void veto(int count, const Index* verdicts, Index* veto) = 0;
  /// May be kept back until end_updates(), to be done together with others; the arrays of two do not overlap.
  virtual void update(DType, const UpdatePass&) = 0;
  virtual void end_updates() {}
};

/// The instruction sets the CPU kernels are built for: Portable is the compiler's baseline, V3 has AVX2 and FMA,
/// V4 has AVX-512 (the levels of the x86-64 psABI).
enum class Isa : std::uint8_t { Portable, V3, V4 };

/// The best one this machine runs.
Isa best_isa();

/// Where convolutions are done by minimal filtering, which multiplies two to four times less often, rounds up to three
/// times as much as plain sums do, and lets NaN and infinity into the outputs next to those that they reach.
/// WhereFaster is for F32 alone; Always is for tests.
enum class Winograd : std::uint8_t { Never, WhereFaster, Always };

/// A CPU backend with a crew of `threads` >= 1 threads of its own, the caller's included.
/// Throws std::invalid_argument for an instruction set above best_isa().
std::unique_ptr<Backend> make_cpu_backend(int threads, Isa isa, Winograd winograd = Winograd::WhereFaster);
inline std::unique_ptr<Backend> make_cpu_backend(int threads) {
  return make_cpu_backend(threads, best_isa());
}

}  // namespace sparknet::kernels
