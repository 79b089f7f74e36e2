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
    // The bias in front, or the sums of dbias.
    rest_at_ = round_up(std::max(forward_.bias_size(), s_.batch * s_.num_output), 64);
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
      own_bias = shared;
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

    T* const dy = static_cast<T*>(args.dy);
    mask_and_sum(engine_, s_.batch, s_.num_output, s_.out_h() * s_.out_w(), activation_, args, shared);
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
  Index rest_at_;
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
