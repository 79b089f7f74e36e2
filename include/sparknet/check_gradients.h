#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sparknet/filler.h"
#include "sparknet/layer.h"
#include "sparknet/net_param.h"

namespace sparknet {

struct GradientCheckOptions {
  /// Half the distance between the two points of a difference.
  double step = 1e-4;
  /// The largest |analytic - numeric| / max(|analytic|, |numeric|, 1) that passes.
  double threshold = 1e-6;
  /// Numbers x with kink - kink_range <= |x| <= kink + kink_range are not checked: there the layer has no derivative,
  /// as ReLU at 0. A negative range checks all.
  double kink = 0;
  double kink_range = -1;
  /// Of the random inputs, parameters and weights of the tops.
  std::uint64_t seed = 1701;
  /// What the inputs given by their shape, and a layer's parameters, are filled with.
  Filler values = Filler::gaussian(0, 1);
  int threads = 1;
  /// For a layer: also hand it this ReLU, as a net does with the ReLU that follows it.
  std::optional<FusedReLU> fuse = {};
};

struct GradientReport {
  bool passed = true;
  /// The largest error met, relative as for the threshold; NaN where a gradient is not a number.
  double worst_error = 0;
  /// Where: "gradient of weights [12]: analytic 0.5, numeric 0.25".
  std::string worst;
  /// A summary of one line, and after it a line for each failure, at most ten.
  std::string text;
};

/// An input of a layer: a shape, to be filled at random, or the values themselves, such as labels.
class CheckInput {
 public:
  CheckInput(const Shape& shape) : shape_(shape) {}
  CheckInput(Tensor values) : shape_(values.shape()), values_(std::move(values)) {}

  const Shape& shape() const { return shape_; }
  /// Undefined where the input is to be filled at random.
  const Tensor& values() const { return values_; }

 private:
  Shape shape_;
  Tensor values_;
};

/// Compares a layer's backward with central differences of its forward, in double precision, for every parameter that
/// learns and every bottom that was not declared to have no gradient. The objective is a random weighted sum of all
/// tops, or the loss of a loss layer.
/// Also holds the layer to what it declared and what LayerIO asks: it must overwrite gradients or, where
/// accumulate(), add to them; must leave alone the gradients that nobody needs, and yield the same others; must not
/// read in backward what it said it does not; must not rely on scratch memory; and must compute the same in place, if
/// it may run in place. For any layer, a user's own included. Throws NetError where the layer refuses its inputs.
///
///     auto report = check_gradients(InnerProductLayer{"ip", {"x"}, {.num_output = 3}}, {Shape{2, 5}});
///     CHECK_MESSAGE(report.passed, report.text);
GradientReport check_gradients(
    const LayerParam& layer, const std::vector<CheckInput>& bottoms, const GradientCheckOptions& options = {});

/// Compares the backward pass of a whole net, as it is planned and fused for training, with central differences of its
/// loss, in double precision, for every parameter. Inputs that are not given by name are filled at random; the
/// parameters are what the net's fillers make of them.
GradientReport check_gradients(
    const NetParam& net, const std::map<std::string, Tensor>& inputs = {}, const GradientCheckOptions& options = {});

}  // namespace sparknet
