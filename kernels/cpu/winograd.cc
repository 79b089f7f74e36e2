#include "kernels/cpu/winograd.h"

#include <algorithm>
#include <limits>

#include "kernels/cpu/output_gradient.h"
#include "kernels/cpu/winograd_correlation.h"
#include "kernels/cpu/winograd_input_gradient.h"
#include "kernels/cpu/winograd_weight_gradient.h"

namespace sparknet::kernels::cpu {
namespace {

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

/// Prepared weights that are taken to be in the second-level cache when a forward pass comes to them.
constexpr double kNearWeights = 64 * 1024;

/// Vectors of multiply-adds that plain products of a batch cost, for one group.
double plain_cycles(const ConvolutionShape& s, Index lanes) {
  const Index channels = s.channels / s.group, outputs = s.num_output / s.group;
  const Index vectors = (s.out_h() * s.out_w() + lanes - 1) / lanes;
  return static_cast<double>(s.batch * outputs * channels * s.kernel_h * s.kernel_w * vectors) / 0.9;
}

/// What minimal filtering costs in the same measure. The factors were measured (docs/performance.md), but for those of
/// prepared weights, which are their bytes over the bandwidth that they come at.
double filter_cycles(const ConvolutionShape& s, const Filter& f, Index lanes, bool prepared) {
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
  const double pass =
      tiles * (products / 0.85 + vectors(channels) * costs.input + vectors(outputs) * costs.output) + 0.6 * turned;
  if (prepared) return pass + (weights < kNearWeights ? 0.2 : 0.75) * weights;
  return pass + static_cast<double>(channels) * vectors(outputs) * costs.weights + 1.5 * weights;
}

/// The form that costs least, if any costs less than `least`.
template <class Cycles>
std::optional<FilterForm> cheapest_form(const ConvolutionShape& s, double least, Cycles&& cycles) {
  if (s.kernel_h != s.kernel_w || s.stride_h != 1 || s.stride_w != 1 || s.dilation_h != 1 || s.dilation_w != 1) {
    return std::nullopt;
  }
  if (s.pad_h >= s.kernel_h || s.pad_w >= s.kernel_w) return std::nullopt;
  std::optional<FilterForm> best;
  for (const FilterForm form : {FilterForm::F2x3, FilterForm::F4x3, FilterForm::F2x5}) {
    if (Filter(form).taps != s.kernel_h) continue;
    const double needed = cycles(Filter(form));
    if (needed >= least) continue;
    least = needed;
    best = form;
  }
  return best;
}

/// What the cost of minimal filtering is held against.
double most_cycles(double plain, Winograd when) {
  switch (when) {
    case Winograd::Never: return 0;
    case Winograd::WhereFaster: return 0.9 * plain;
    case Winograd::Always: break;
  }
  return std::numeric_limits<double>::infinity();
}

/// Changes the weights for a plan, on all threads.
template <class T, class Plan>
void change_weights(
    ThreadTeam& team, const Plan& plan, WeightOrder order, const void* weights, T* changed, T* scratch) {
  const ChangedWeights<T>& changing = plan.weights();
  team.run([&](int worker) {
    const Share part = share(changing.pieces(), team.size(), worker);
    T* const own = scratch + worker * changing.scratch_size();
    for (Index i = part.begin; i < part.end; ++i) {
      changing.change(i, order, static_cast<const T*>(weights), changed, own);
    }
  });
}

/// Calls f(piece, scratch of the thread) for all pieces of a plan.
template <class T, class Plan, class F>
void run_pieces(ThreadTeam& team, const Plan& plan, T* scratch, F&& f) {
  team.run([&](int worker) {
    const Share part = share(plan.pieces(), team.size(), worker);
    for (Index i = part.begin; i < part.end; ++i) f(i, scratch + worker * plan.scratch_size());
  });
}

/// Elements that both take.
template <class Plan>
Index scratch_size(const ThreadTeam& team, const Plan& plan) {
  return team.size() * std::max(plan.scratch_size(), plan.weights().scratch_size());
}

template <class T>
class PreparedWinograd final : public PreparedLinear {
 public:
  PreparedWinograd(Engine& engine, const ConvolutionShape& shape, FilterForm form, Activation activation)
      : team_(engine.team),
        group_(shape.group),
        outputs_(shape.num_output / shape.group),
        activation_(activation),
        plan_(engine, shape, form),
        rest_at_(round_up(plan_.bias_size(), 64)) {}

  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(rest_at_ + scratch_size(team_, plan_)) * sizeof(T);
  }
  std::size_t prepared_bytes() const override { return static_cast<std::size_t>(plan_.weights().size()) * sizeof(T); }

  void prepare(const void* weights, void* prepared, void* scratch) override {
    change_weights(team_, plan_, WeightOrder::Plain, weights, static_cast<T*>(prepared), static_cast<T*>(scratch));
  }

  void forward(const void* x, const void* prepared, const void* bias, void* y, void* scratch) override {
    T* const shared = static_cast<T*>(scratch);
    if (bias) {
      const Index pitch = plan_.bias_size() / group_;
      for (Index group = 0; group < group_; ++group) {
        std::copy_n(static_cast<const T*>(bias) + group * outputs_, outputs_, shared + group * pitch);
      }
    }
    run_pieces(team_, plan_, shared + rest_at_, [&](Index piece, T* own) {
      plan_.run(
          piece,
          static_cast<const T*>(x),
          static_cast<const T*>(prepared),
          bias ? shared : nullptr,
          activation_,
          static_cast<T*>(y),
          own);
    });
  }

 private:
  ThreadTeam& team_;
  Index group_, outputs_;
  Activation activation_;
  WinogradCorrelation<T> plan_;
  Index rest_at_;
};

template <class T>
class WinogradConvolution final : public Linear {
 public:
  WinogradConvolution(Engine& engine, const ConvolutionShape& shape, FilterForm form, Activation activation)
      : engine_(engine),
        s_(shape),
        activation_(activation),
        forward_(engine, shape, form, activation),
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
  }

  std::size_t scratch_bytes() const override {
    const auto size = [&](const auto& plan) {
      return round_up(plan.weights().size(), 64) + scratch_size(engine_.team, plan);
    };
    const Index backward =
        std::max({s_.batch * s_.num_output, turned_ ? size(*turned_) : size(*gradient_), weights_.scratch_size()});
    return std::max(prepared_bytes() + forward_.scratch_bytes(), static_cast<std::size_t>(backward) * sizeof(T));
  }

  void forward(const void* x, const void* weights, const void* bias, void* y, void* scratch) override {
    void* const rest = static_cast<std::byte*>(scratch) + prepared_bytes();
    forward_.prepare(weights, scratch, rest);
    forward_.forward(x, scratch, bias, y, rest);
  }

  void backward(const BackwardArgs& args, void* scratch) override {
    T* const shared = static_cast<T*>(scratch);
    T* const dy = static_cast<T*>(args.dy);
    mask_and_sum(engine_, s_.batch, s_.num_output, s_.out_h() * s_.out_w(), activation_, args, shared);
    T* const dx = static_cast<T*>(args.dx);
    if (dx && turned_) {
      run(*turned_, WeightOrder::Turned, args.weights, shared, [&](Index piece, T* own) {
        turned_->run(piece, dy, shared, nullptr, Activation{}, dx, own);
      });
    } else if (dx) {
      run(*gradient_, WeightOrder::Swapped, args.weights, shared, [&](Index piece, T* own) {
        gradient_->run(piece, dy, shared, dx, own);
      });
    }
    if (args.dweights) {
      weights_.run(static_cast<const T*>(args.x), dy, args.accumulate, static_cast<T*>(args.dweights), shared);
    }
  }

 private:
  /// On a cache line.
  std::size_t prepared_bytes() const { return (forward_.prepared_bytes() + 63) / 64 * 64; }

  /// Changes the weights and calls f(piece, scratch of the thread) for all pieces of the plan.
  template <class Plan, class F>
  void run(const Plan& plan, WeightOrder order, const void* weights, T* shared, F&& f) {
    T* const rest = shared + round_up(plan.weights().size(), 64);
    change_weights(engine_.team, plan, order, weights, shared, rest);
    run_pieces(engine_.team, plan, rest, f);
  }

  Engine& engine_;
  ConvolutionShape s_;
  Activation activation_;
  PreparedWinograd<T> forward_;
  /// One of the two.
  std::optional<WinogradCorrelation<T>> turned_;
  std::optional<WinogradInputGradient<T>> gradient_;
  WinogradWeightGradient<T> weights_;
};

}  // namespace

std::optional<FilterForm> winograd_form(const ConvolutionShape& s, Index lanes, Winograd when) {
  // The gradient of the input is a convolution too.
  const auto both = [&](const auto& cycles) { return cycles(s) + cycles(turned(s)); };
  const double plain = both([&](const ConvolutionShape& shape) { return plain_cycles(shape, lanes); });
  return cheapest_form(s, most_cycles(plain, when), [&](const Filter& f) {
    return both([&](const ConvolutionShape& shape) { return filter_cycles(shape, f, lanes, false); });
  });
}

std::optional<FilterForm> prepared_winograd_form(const ConvolutionShape& s, Index lanes, Winograd when) {
  return cheapest_form(s, most_cycles(plain_cycles(s, lanes), when), [&](const Filter& f) {
    return filter_cycles(s, f, lanes, true);
  });
}

std::unique_ptr<Linear> make_winograd(
    Engine& engine, DType dtype, const ConvolutionShape& shape, FilterForm form, Activation activation) {
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<Linear> {
    return std::make_unique<WinogradConvolution<decltype(zero)>>(engine, shape, form, activation);
  });
}

std::unique_ptr<PreparedLinear> make_prepared_winograd(
    Engine& engine, DType dtype, const ConvolutionShape& shape, FilterForm form, Activation activation) {
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<PreparedLinear> {
    return std::make_unique<PreparedWinograd<decltype(zero)>>(engine, shape, form, activation);
  });
}

}  // namespace sparknet::kernels::cpu
