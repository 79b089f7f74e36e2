#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "sparknet/device.h"
#include "sparknet/dtype.h"
#include "sparknet/filler.h"
#include "sparknet/shape.h"
#include "sparknet/tensor.h"

namespace sparknet {

namespace kernels {
class Backend;
}

enum class Phase : std::uint8_t { Train, Test };

/// What a layer throws to refuse its inputs: the reason only. The net adds its own name, the layer's, the line in the
/// user's program and the shapes, and throws NetError.
class BadInput : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// An element-wise y = x > 0 ? x : negative_slope * x, negative_slope >= 0, that a layer before it can do in its own
/// pass.
struct FusedReLU {
  double negative_slope = 0;
};

/// A y = scale[c] * x + bias[c], with a learned number or two for each channel (axis 1), that a layer before it can do
/// in its own pass.
struct FusedScale {
  bool has_bias = false;
};

/// A y = scale[c] * x + shift[c] (axis 1) whose numbers the parameters of a layer tell, and which a layer before it can
/// take into its weights where those stay the same.
struct FusedAffine {
  /// How many parameters the layer has.
  std::size_t params = 0;
  /// Fills in scale and shift, one of each for a channel, from those parameters, which are on the host.
  std::function<void(std::span<const Tensor> params, std::span<double> scale, std::span<double> shift)> read;
};

/// Whether a layer's bottoms, tops and their gradients may be of another type or order than those of the net, which
/// brings them into it.
enum class May : std::uint8_t { Never, WhereInputsAre, Always };

/// What a layer tells the net while the net is planned, once. Shapes are known and were checked by `infer`.
class LayerSetup {
 public:
  LayerSetup(
      std::span<const Shape> bottom, std::span<const Shape> top, DType dtype, Phase phase, kernels::Backend& backend,
      bool frozen = false, bool nhwc = false)
      : bottom_(bottom), top_(top), dtype_(dtype), phase_(phase), frozen_(frozen), nhwc_(nhwc), backend_(backend) {}

  std::span<const Shape> bottom() const { return bottom_; }
  std::span<const Shape> top() const { return top_; }
  /// F32 or F64: the type of every blob and parameter of the net. Or BF16, where the layer may have that: the type of
  /// its blobs.
  DType dtype() const { return dtype_; }
  DType param_dtype() const { return dtype_ == DType::BF16 ? DType::F32 : dtype_; }
  /// Where the layer may have that: whether its blobs [N, C, H, W] lie in memory as [N, H, W, C].
  bool nhwc() const { return nhwc_; }
  Phase phase() const { return phase_; }
  /// Whether the parameters stay the same from one forward pass to the next, so that it pays to prepare them.
  bool frozen() const { return frozen_; }
  kernels::Backend& backend() const { return backend_; }

  /// Declares a parameter. `name` is unique in the layer ("weights", "bias"); io.param(i) is the i-th one declared.
  /// A parameter whose lr_mult is 0 does not learn.
  void param(std::string name, Shape shape, Filler filler, double lr_mult = 1, double decay_mult = 1);
  /// Asks for memory whose contents mean nothing between calls; all layers share one block.
  void scratch(std::size_t bytes) { scratch_bytes = bytes > scratch_bytes ? bytes : scratch_bytes; }
  /// Asks for a place to say that the numbers of an input are refused; see Layer::refuse.
  void verdict() { has_verdict = true; }
  /// Asks for memory that keeps its contents from forward to backward of the same step.
  void state(std::size_t bytes) { state_bytes += bytes; }
  /// Asks for memory in which Layer::prepare leaves what forward reads instead of the parameters; where frozen() only.
  void prepares(std::size_t bytes) { prepared_bytes += bytes; }
  /// What backward reads; both unless said otherwise. What is not read can be given to others after forward.
  void backward_reads(bool bottoms, bool tops) { reads_bottoms = bottoms, reads_tops = tops; }
  /// Top 0 may lie in the memory of one of the first `bottoms` bottoms, and their gradients likewise.
  void in_place(std::size_t bottoms = 1) { in_place_bottoms = bottoms; }
  /// Top 0 can be had again in the backward pass, cheaply, by Layer::recompute; so it need not be kept for it.
  void recomputes() { can_recompute = true; }
  /// No gradient ever flows into this bottom (labels).
  void no_gradient(std::size_t bottom) { dead_bottoms.push_back(bottom); }
  /// Top 0 is a loss of one element: the net minimises the sum of weight * loss.
  void loss(double weight) { loss_weight = weight; }

  struct Param {
    std::string name;
    Shape shape;
    Filler filler;
    double lr_mult, decay_mult;
  };
  // What was declared; read by the net.
  std::vector<Param> params;
  std::size_t scratch_bytes = 0, state_bytes = 0, prepared_bytes = 0;
  std::size_t in_place_bottoms = 0;
  bool reads_bottoms = true, reads_tops = true, can_recompute = false, has_verdict = false;
  std::vector<std::size_t> dead_bottoms;
  std::optional<double> loss_weight;

 private:
  std::span<const Shape> bottom_, top_;
  DType dtype_;
  Phase phase_;
  bool frozen_, nhwc_;
  kernels::Backend& backend_;
};

/// What a running layer works on. The tensors are dense, have the type that setup was told and stay where they are for
/// the net's life.
class LayerIO {
 public:
  const Tensor& bottom(std::size_t i = 0) const { return bottoms[i]; }
  Tensor& top(std::size_t i = 0) { return tops[i]; }
  const Tensor& param(std::size_t i) const { return params[i]; }

  /// The gradient of the loss with respect to a top. For a loss layer it is the loss weight.
  Tensor& top_diff(std::size_t i = 0) { return top_diffs[i]; }
  /// To be overwritten with the gradient with respect to a bottom; undefined where nobody needs it.
  Tensor& bottom_diff(std::size_t i = 0) { return bottom_diffs[i]; }
  bool needs_bottom_diff(std::size_t i = 0) const { return bottom_diffs[i].defined(); }
  /// To be overwritten, or added to where accumulate(); undefined where the parameter does not learn.
  Tensor& param_diff(std::size_t i) { return param_diffs[i]; }
  bool needs_param_diff(std::size_t i) const { return param_diffs[i].defined(); }
  /// True from the second backward pass on since the gradients were last used.
  bool accumulate() const { return accumulates; }

  std::byte* scratch() const { return scratch_memory; }
  std::byte* state() const { return state_memory; }
  std::byte* prepared() const { return prepared_memory; }
  /// Where the layer asked for it: -1, or the number that Layer::refuse is given.
  std::int64_t* verdict() const { return verdict_memory; }
  Phase phase() const { return net_phase; }
  DType dtype() const { return net_dtype; }
  kernels::Backend& backend() const { return *net_backend; }
  /// Random numbers of this layer in this step are philox(seed(), sequence(), ...), in forward and backward alike.
  std::uint64_t seed() const { return net_seed; }
  std::uint64_t sequence() const { return step_sequence; }

  // Filled in by the net.
  std::vector<Tensor> bottoms, tops, params, top_diffs, bottom_diffs, param_diffs;
  std::byte* scratch_memory = nullptr;
  std::byte* state_memory = nullptr;
  std::byte* prepared_memory = nullptr;
  std::int64_t* verdict_memory = nullptr;
  Phase net_phase = Phase::Train;
  DType net_dtype = DType::F32;
  kernels::Backend* net_backend = nullptr;
  std::uint64_t net_seed = 0, step_sequence = 0;
  bool accumulates = false;
};

/// A layer of a net that runs. Made by a description's `make`; set up once; then forward, or forward and backward, any
/// number of times. forward and backward allocate nothing and may throw BadInput.
class Layer {
 public:
  virtual ~Layer() = default;

  virtual void setup(LayerSetup& setup) = 0;
  /// Leaves in io.prepared() what forward reads instead of the parameters. Called where setup asked for that memory:
  /// before the first forward pass, and before the next one when the parameters have changed. May allocate.
  virtual void prepare(LayerIO&) {}
  virtual void forward(LayerIO& io) = 0;
  /// Fills bottom_diff and param_diff where they are needed. Not called in the test phase.
  virtual void backward(LayerIO& io) = 0;
  /// Writes top 0 once more as forward did in this step, from the same bottoms and the state that forward left, and
  /// nothing else. Called between forward and backward of a layer that said recomputes().
  virtual void recompute(LayerIO& io) { forward(io); }
  /// Throws BadInput that says why forward's verdict, which is not -1, refuses what the bottoms hold. Where the work is
  /// not done on the host, other layers may have run meanwhile.
  virtual void refuse(LayerIO& io, std::int64_t verdict);

  /// Whether its blobs may be of BF16, with parameters of F32. Asked before everything else, with the numbers of its
  /// bottoms and tops.
  virtual May may_be_bf16(std::size_t, std::size_t) const { return May::Never; }
  /// Whether its blobs, which have four axes, may lie in memory as [N, H, W, C]. Asked after that, with the same.
  virtual May may_be_nhwc(std::size_t, std::size_t) const { return May::Never; }
  /// The ReLU that this layer is, if it is one. Asked before setup.
  virtual std::optional<FusedReLU> as_relu() const { return {}; }
  /// Takes over the ReLU that follows it; true where the layer can. Called before setup, at most once.
  virtual bool fuse(const FusedReLU&) { return false; }
  /// The scale that this layer is where it has one bottom, if it is one; its parameters are the scale and then the
  /// bias. Asked before setup.
  virtual std::optional<FusedScale> as_scale() const { return {}; }
  /// Takes over the scale that follows it, whose parameters then come behind its own; true where the layer can, for a
  /// bottom of that shape on that backend. Called before setup, at most once, and before a ReLU is offered.
  virtual bool fuse_scale(const FusedScale&, const Shape&, kernels::Backend&) { return false; }
  /// What this layer is in that phase where it has one bottom, if it is such a pass. Asked before setup.
  virtual std::optional<FusedAffine> as_affine(Phase) const { return {}; }
  /// Takes over such a layer behind it in a frozen net, whose parameters then come behind its own and those of others
  /// that were taken over before; true where the layer can, for a top of that shape. Called before setup, any number of
  /// times, and before a ReLU is offered.
  virtual bool fuse_affine(const FusedAffine&, const Shape&) { return false; }
};

}  // namespace sparknet
