#include "kernels/cuda/update.h"

#include <cmath>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/launch.h"

namespace sparknet::kernels::cuda {
namespace {

/// The arrays of an UpdatePass, and what of it is theirs; `end` is where they end in all that one kernel updates.
template <class T>
struct UpdateArray {
  T *w, *h, *h2;
  const T* g;
  Index begin, end;
  T rate, decay, shrink;
};

/// Some passes of the same kind, with types.
template <class T, std::size_t kMost>
struct Update {
  UpdateArray<T> arrays[kMost];
  const double* gradient_factor;
  const Index* veto;
  double gradient_scale;
  T momentum, gain, momentum2, gain2, delta;
  bool l1;

  explicit Update(const std::vector<UpdatePass>& passes)
      : gradient_factor(passes[0].gradient_factor),
        veto(passes[0].veto),
        gradient_scale(passes[0].gradient_scale),
        momentum(static_cast<T>(passes[0].momentum)),
        gain(static_cast<T>(passes[0].gain)),
        momentum2(static_cast<T>(passes[0].momentum2)),
        gain2(static_cast<T>(passes[0].gain2)),
        delta(static_cast<T>(passes[0].delta)),
        l1(passes[0].l1) {
    Index begin = 0;
    for (std::size_t k = 0; k < passes.size(); ++k) {
      const UpdatePass& pass = passes[k];
      arrays[k] = {
          out<T>(pass.weights),
          out<T>(pass.history),
          out<T>(pass.history2),
          in<T>(pass.gradient),
          begin,
          begin + pass.count,
          static_cast<T>(pass.rate),
          static_cast<T>(pass.decay),
          static_cast<T>(pass.shrink)};
      begin += pass.count;
    }
  }

  template <UpdateKind kKind>
  __device__ void apply(const UpdateArray<T>& a, Index i) const {
    T *const w = a.w, *const h = a.h, *const h2 = a.h2;
    const T weight = w[i], sign = weight > T(0) ? T(1) : (weight < T(0) ? T(-1) : T(0)), r = l1 ? sign : weight;
    const T scale = static_cast<T>(gradient_factor ? gradient_scale * *gradient_factor : gradient_scale);
    const T gradient = scale * a.g[i] + a.decay * r, before = h[i];
    switch (kKind) {
      case UpdateKind::Sgd: {
        const T step = momentum * before + a.rate * gradient;
        h[i] = step;
        w[i] = weight - step;
        break;
      }
      case UpdateKind::Nesterov: {
        const T after = momentum * before + a.rate * gradient;
        h[i] = after;
        w[i] = weight - ((T(1) + momentum) * after - momentum * before);
        break;
      }
      case UpdateKind::RmsProp: {
        const T squares = momentum * before + gain * (gradient * gradient);
        h[i] = squares;
        w[i] = weight - a.rate * gradient / (std::sqrt(squares) + delta);
        break;
      }
      case UpdateKind::AdaDelta: {
        const T squares = momentum * before + gain * (gradient * gradient), changes = h2[i];
        const T change = gradient * std::sqrt((changes + delta) / (squares + delta));
        h[i] = squares;
        h2[i] = momentum * changes + gain * (change * change);
        w[i] = weight - a.rate * change;
        break;
      }
      case UpdateKind::Adam: {
        const T mean = momentum * before + gain * gradient;
        const T squares = momentum2 * h2[i] + gain2 * (gradient * gradient);
        h[i] = mean;
        h2[i] = squares;
        w[i] = weight - (a.rate * mean / (std::sqrt(squares) + delta) + a.shrink * r);
        break;
      }
    }
  }
};

template <class T, std::size_t kMost, UpdateKind kKind>
struct UpdateAll {
  Update<T, kMost> update;
  Index count;

  __device__ void run() const {
    if (update.veto && *update.veto >= 0) return;
    const Index step = stride().step;
    Index i = stride().first;
    for (const UpdateArray<T>* array = update.arrays; i < count; i += step) {
      while (i >= array->end) ++array;
      update.template apply<kKind>(*array, i - array->begin);
    }
  }
};

template <class T, std::size_t kMost, UpdateKind kKind>
void update_as(Context& context, const std::vector<UpdatePass>& passes) {
  UpdateAll<T, kMost, kKind> all{Update<T, kMost>(passes), 0};
  static_assert(sizeof all <= 4096);
  for (const UpdatePass& pass : passes) all.count += pass.count;
  if (all.count == 0) return;
  // The rates change from step to step.
  launch_strided(context, "update", all.count, all, true);
}

template <class T, std::size_t kMost>
void update_of(Context& context, const std::vector<UpdatePass>& passes) {
  switch (passes[0].kind) {
    case UpdateKind::Sgd: return update_as<T, kMost, UpdateKind::Sgd>(context, passes);
    case UpdateKind::Nesterov: return update_as<T, kMost, UpdateKind::Nesterov>(context, passes);
    case UpdateKind::RmsProp: return update_as<T, kMost, UpdateKind::RmsProp>(context, passes);
    case UpdateKind::AdaDelta: return update_as<T, kMost, UpdateKind::AdaDelta>(context, passes);
    case UpdateKind::Adam: return update_as<T, kMost, UpdateKind::Adam>(context, passes);
  }
}

/// Whether one kernel can do both.
bool alike(const UpdatePass& a, const UpdatePass& b) {
  return a.kind == b.kind && a.gradient_scale == b.gradient_scale && a.gradient_factor == b.gradient_factor &&
         a.veto == b.veto && a.l1 == b.l1 && a.momentum == b.momentum && a.gain == b.gain &&
         a.momentum2 == b.momentum2 && a.gain2 == b.gain2 && a.delta == b.delta;
}

}  // namespace

void Updates::add(DType dtype, const UpdatePass& pass) {
  if (dtype == DType::BF16) throw std::logic_error("an operation of a GPU that is not done in bf16");
  if (!passes_.empty() && (passes_.size() == kMost || dtype != dtype_ || !alike(passes_[0], pass))) start();
  dtype_ = dtype;
  passes_.push_back(pass);
}

void Updates::start() {
  if (passes_.empty()) return;
  with_type(dtype_, [&](auto zero) { update_of<decltype(zero), kMost>(context_, passes_); });
  passes_.clear();
}

void CudaBackend::update(DType dtype, const UpdatePass& pass) {
  updates_.add(dtype, pass);
}

void CudaBackend::end_updates() {
  updates_.start();
}

}  // namespace sparknet::kernels::cuda
