#include "sparknet/check_gradients.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "sparknet/net.h"
#include "sparknet/random.h"
#include "src/solo_layer.h"

namespace sparknet {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
/// For two computations of one number.
constexpr double same = 1e-10;

double relative_error(double a, double b) {
  return std::abs(a - b) / std::max({std::abs(a), std::abs(b), 1.0});
}

std::string index_text(const Shape& shape, std::size_t flat) {
  std::vector<Dim> index(shape.size());
  Dim rest = static_cast<Dim>(flat);
  for (std::size_t d = shape.size(); d-- > 0; rest /= shape[d]) index[d] = rest % shape[d];
  return fmt::format("[{}]", fmt::join(index, ", "));
}

/// Gathers what was compared.
class Findings {
 public:
  explicit Findings(const GradientCheckOptions& options) : options_(options) {}

  void compare(const std::string& what, const Shape& shape, std::size_t flat, double analytic, double numeric) {
    ++compared_;
    any_gradient_ = any_gradient_ || analytic != 0 || numeric != 0;
    const double error = relative_error(analytic, numeric);
    const auto text = [&] {
      return fmt::format(
          "gradient of {} {}: analytic {:.9g}, numeric {:.9g}",
          what,
          index_text(shape, flat),
          analytic,
          numeric);
    };
    if (!std::isnan(report_.worst_error) && !(error <= report_.worst_error)) {
      report_.worst_error = error;
      report_.worst = text();
    }
    if (!(error <= options_.threshold)) fail(text());
  }

  /// Fails unless two computations agree.
  void expect_same(const std::string& what, const Tensor& actual, const Tensor& expected) {
    const auto a = actual.span<double>(), e = expected.span<double>();
    for (std::size_t i = 0; i < e.size(); ++i)
      if (!(relative_error(a[i], e[i]) <= same))
        return fail(fmt::format("{} {}: {:.9g} instead of {:.9g}", what, index_text(actual.shape(), i), a[i], e[i]));
  }

  void fail(const std::string& text) {
    report_.passed = false;
    if (++failures_ <= 10) lines_ += "\n  " + text;
  }

  bool any_gradient() const { return any_gradient_; }

  /// Compares the gradient of each element of `x` with central differences of `objective`.
  template <class F>
  void differences(
      const std::string& what, const Shape& shape, std::span<double> x, std::span<const double> gradient,
      F&& objective) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double value = x[i], magnitude = std::abs(value);
      if (magnitude >= options_.kink - options_.kink_range && magnitude <= options_.kink + options_.kink_range)
        continue;
      x[i] = value + options_.step;
      const double above = objective();
      x[i] = value - options_.step;
      const double below = objective();
      x[i] = value;
      compare(what, shape, i, gradient[i], (above - below) / (2 * options_.step));
    }
  }

  GradientReport report(const std::string& subject) {
    report_.text = fmt::format(
        "{}: {}, {} numbers compared, worst error {:.3g}{}{}",
        subject,
        report_.passed ? "passed" : fmt::format("{} failures", failures_),
        compared_,
        report_.worst_error,
        report_.worst.empty() ? "" : " in " + report_.worst,
        lines_);
    return report_;
  }

 private:
  const GradientCheckOptions& options_;
  GradientReport report_;
  std::size_t compared_ = 0, failures_ = 0;
  bool any_gradient_ = false;
  std::string lines_;
};

/// The values of a layer's inputs and parameters, and the weights of its tops in the objective.
struct Point {
  std::vector<Tensor> bottoms, params, weights;
};

struct Gradients {
  std::vector<Tensor> tops, recomputed, bottoms, params;
};

Tensor random_tensor(const Shape& shape, const Filler& filler, Random& random) {
  Tensor tensor(shape, DType::F64);
  fill(filler, tensor, random);
  return tensor;
}

void assign(std::vector<Tensor>& to, const std::vector<Tensor>& from) {
  for (std::size_t i = 0; i < to.size(); ++i)
    if (to[i].defined()) to[i].copy_from(from[i]);
}

void poison(std::vector<Tensor>& tensors) {
  for (Tensor& tensor : tensors)
    if (tensor.defined()) tensor.fill(nan);
}

std::vector<Tensor> copies(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> out;
  out.reserve(tensors.size());
  for (const Tensor& tensor : tensors) out.push_back(tensor.defined() ? tensor.copy() : Tensor());
  return out;
}

/// Both passes. What the layer must not read is poisoned, as is all it must overwrite; with `added` its parameters'
/// gradients are to be added to those.
Gradients run(SoloLayer& layer, const Point& at, const std::vector<Tensor>* added) {
  LayerIO& io = layer.io();
  const LayerSetup& setup = layer.setup();
  const bool in_place = !io.tops.empty() && std::ranges::any_of(io.bottoms, [&](const Tensor& bottom) {
    return bottom.raw() == io.tops[0].raw();
  });
  const auto poison_scratch = [&] { std::memset(io.scratch_memory, 0xff, setup.scratch_bytes); };  // NaNs

  poison(io.tops);
  assign(io.bottoms, at.bottoms);
  assign(io.params, at.params);
  poison_scratch();
  layer.forward();
  Gradients result{copies(io.tops), {}, {}, {}};
  if (setup.can_recompute && !in_place) {
    poison(io.tops);
    poison_scratch();
    layer.recompute();
    result.recomputed = copies(io.tops);
  }

  if (!in_place && !setup.reads_bottoms) poison(io.bottoms);
  if (!in_place && !setup.reads_tops) poison(io.tops);
  poison_scratch();
  poison(io.bottom_diffs);
  assign(io.top_diffs, at.weights);
  if (added)
    assign(io.param_diffs, *added);
  else
    poison(io.param_diffs);
  io.accumulates = added != nullptr;
  layer.backward();
  result.bottoms = copies(io.bottom_diffs);
  result.params = copies(io.param_diffs);
  return result;
}

double objective(SoloLayer& layer, const Point& at) {
  layer.forward();
  double sum = 0;
  for (std::size_t t = 0; t < at.weights.size(); ++t) {
    const auto top = std::as_const(layer.io().tops[t]).span<double>();
    const auto weights = at.weights[t].span<double>();
    for (std::size_t i = 0; i < top.size(); ++i) sum += weights[i] * top[i];
  }
  return sum;
}

}  // namespace

GradientReport check_gradients(
    const LayerParam& layer, const std::vector<CheckInput>& bottoms, const GradientCheckOptions& options) {
  std::vector<Shape> shapes;
  shapes.reserve(bottoms.size());
  for (const CheckInput& bottom : bottoms) shapes.push_back(bottom.shape());
  SoloOptions solo_options{.threads = options.threads, .seed = options.seed, .fuse = options.fuse};
  SoloLayer solo(layer, shapes, solo_options);
  LayerIO& io = solo.io();
  const LayerSetup& setup = solo.setup();
  Findings findings(options);
  if (options.fuse && !solo.fused()) findings.fail("the layer does not take over a ReLU");

  Random random(options.seed);
  Point at;
  for (const CheckInput& bottom : bottoms)
    at.bottoms.push_back(
        bottom.values().defined() ? bottom.values().cast(DType::F64)
                                  : random_tensor(bottom.shape(), options.values, random));
  for (const LayerSetup::Param& param : setup.params)
    at.params.push_back(random_tensor(param.shape, options.values, random));
  for (const Shape& top : setup.top()) at.weights.push_back(random_tensor(top, Filler::gaussian(0, 1), random));
  if (setup.loss_weight) at.weights.at(0).fill(*setup.loss_weight);

  const Gradients analytic = run(solo, at, nullptr);
  const Gradients doubled = run(solo, at, &analytic.params);
  for (std::size_t p = 0; p < at.params.size(); ++p)
    if (io.needs_param_diff(p))
      findings.expect_same(
          setup.params[p].name + ", whose gradient is to be added to where accumulate(),",
          doubled.params[p],
          analytic.params[p] * 2);

  const auto names = layer.inputs();
  // A net asks for no gradient of what does not learn; the others stay as they are.
  const auto compare_without = [&](const std::string& what) {
    try {
      const Gradients fewer = run(solo, at, nullptr);
      for (std::size_t i = 0; i < at.bottoms.size(); ++i)
        if (io.needs_bottom_diff(i))
          findings.expect_same(what + ", bottom \"" + names[i] + "\"", fewer.bottoms[i], analytic.bottoms[i]);
      for (std::size_t p = 0; p < at.params.size(); ++p)
        if (io.needs_param_diff(p))
          findings.expect_same(what + ", " + setup.params[p].name, fewer.params[p], analytic.params[p]);
    } catch (const Error& why) {
      findings.fail(what + ": " + why.what());
    }
  };
  const auto is_wanted = [](const Tensor& gradient) { return gradient.defined(); };
  const auto leave_out = [&](std::vector<Tensor>& gradients, const std::string& what) {
    for (Tensor& gradient : gradients) {
      if (!gradient.defined()) continue;
      const Tensor kept = std::exchange(gradient, Tensor());
      if (std::ranges::any_of(io.bottom_diffs, is_wanted) || std::ranges::any_of(io.param_diffs, is_wanted))
        compare_without(what);
      gradient = kept;
    }
  };
  leave_out(io.bottom_diffs, "where a bottom does not learn");
  leave_out(io.param_diffs, "where a parameter does not learn");

  assign(io.bottoms, at.bottoms);
  const auto differences = [&](const std::string& what, Tensor& x, const Tensor& gradient) {
    findings.differences(what, x.shape(), x.span<double>(), gradient.span<double>(), [&] {
      return objective(solo, at);
    });
  };
  for (std::size_t i = 0; i < at.bottoms.size(); ++i)
    if (io.needs_bottom_diff(i)) differences("bottom \"" + names[i] + "\"", io.bottoms[i], analytic.bottoms[i]);
  for (std::size_t p = 0; p < at.params.size(); ++p)
    if (io.needs_param_diff(p)) differences(setup.params[p].name, io.params[p], analytic.params[p]);

  if (!analytic.recomputed.empty()) findings.expect_same("recomputed, top 0", analytic.recomputed[0], analytic.tops[0]);

  for (std::size_t b = 0; b < setup.in_place_bottoms; ++b) {
    solo_options.in_place = true;
    solo_options.in_place_of = b;
    SoloLayer twin(layer, shapes, solo_options);
    const Gradients in_place = run(twin, at, nullptr);
    const std::string where = fmt::format("in place of \"{}\"", names[b]);
    findings.expect_same(where + ", top 0", in_place.tops[0], analytic.tops[0]);
    for (std::size_t i = 0; i < at.bottoms.size(); ++i)
      if (io.needs_bottom_diff(i))
        findings.expect_same(
            where + ", gradient of bottom \"" + names[i] + "\"",
            in_place.bottoms[i],
            analytic.bottoms[i]);
    for (std::size_t p = 0; p < at.params.size(); ++p)
      if (io.needs_param_diff(p))
        findings.expect_same(where + ", gradient of " + setup.params[p].name, in_place.params[p], analytic.params[p]);
  }
  return findings.report(fmt::format("{} \"{}\"", layer.type(), layer.name()));
}

GradientReport check_gradients(
    const NetParam& net_param, const std::map<std::string, Tensor>& inputs, const GradientCheckOptions& options) {
  Net net(net_param, {.dtype = DType::F64, .threads = options.threads, .seed = options.seed});
  Random random(options.seed);
  for (const InferredLayer& layer : infer_shapes(net_param, Phase::Train)) {
    if (layer.param.make() || layer.param.feed(Phase::Train)) continue;
    for (std::size_t t = 0; t < layer.tops.size(); ++t)
      if (!inputs.contains(layer.tops[t]))
        net.set_input(layer.tops[t], random_tensor(layer.top_shapes[t], options.values, random));
  }
  for (const auto& [name, value] : inputs) net.set_input(name, value);

  // Every pass draws the same random numbers.
  const std::uint64_t passes = net.passes();
  const auto forward = [&] {
    net.set_passes(passes);
    return net.forward();
  };
  forward();
  net.backward();
  const Tensor analytic = net.gradient_arena().copy();
  forward();
  net.backward();

  Findings findings(options);
  findings.expect_same("the gradients of two passes together", net.gradient_arena(), analytic * 2);
  Tensor params = net.param_arena();
  for (const ParamInfo& param : net.params()) {
    if (param.lr_mult == 0) continue;
    const auto offset = static_cast<std::size_t>(param.offset), count = static_cast<std::size_t>(param.shape.count());
    findings.differences(
        param.full_name(),
        param.shape,
        params.span<double>().subspan(offset, count),
        analytic.span<double>().subspan(offset, count),
        forward);
  }
  if (!findings.any_gradient())
    findings.fail("all gradients are 0: the net has no loss, or none that depends on a parameter");
  return findings.report(fmt::format("net \"{}\"", net_param.name));
}

}  // namespace sparknet
