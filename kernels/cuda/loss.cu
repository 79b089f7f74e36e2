#include "kernels/cuda/backend.h"
#include "kernels/cuda/functions.h"
#include "kernels/cuda/labels.h"

namespace sparknet::kernels::cuda {
namespace {

/// What is added to the distance of a pair before it divides, as Caffe does.
constexpr double kDistanceOffset = 1e-4;

/// The loss of some examples, and the first of them whose label is none, or -1.
struct Part {
  double sum;
  Index valid, bad;
};
struct Join {
  __device__ Part operator()(Part a, Part b) const { return {a.sum + b.sum, a.valid + b.valid, First{}(a.bad, b.bad)}; }
};

/// A LossPass with types.
template <class T>
struct Loss {
  LossPass pass;

  __device__ const T* x() const { return static_cast<const T*>(pass.x); }
  __device__ const T* labels() const { return static_cast<const T*>(pass.labels); }
  __device__ const T* matrix() const { return static_cast<const T*>(pass.matrix); }
  __device__ Index place(Index example, Index j) const {
    const SoftmaxShape& s = pass.shape;
    return (example / s.inner * s.classes + j) * s.inner + example % s.inner;
  }
  __device__ T score(Index example, Index j) const { return x()[place(example, j)]; }
  __device__ bool is_ignored(T target) const {
    return pass.has_ignore && std::trunc(target) == static_cast<T>(pass.ignore);
  }
  __device__ double divisor(Index valid) const {
    return pass.divisor != 0 ? pass.divisor : static_cast<double>(valid > 1 ? valid : 1);
  }

  /// By how much a score of a hinge misses its margin; NaN stays.
  __device__ static T missing(T score, bool own) {
    const T margin = own ? T(1) - score : T(1) + score;
    return margin <= T(0) ? T(0) : margin;
  }
  __device__ static T not_below(T value, T bound) { return value < bound ? bound : value; }
  __device__ double square_of_pair(Index pair) const {
    double sum = 0;
    for (Index j = 0; j < pass.shape.classes; ++j) {
      const double value = static_cast<double>(score(pair, j));
      sum += value * value;
    }
    return sum;
  }

  /// Of an example whose label is good.
  __device__ double of_label(Index i, Index label) const {
    const Index classes = pass.shape.classes;
    double sum = 0;
    switch (pass.kind) {
      case LossKind::Hinge:
      case LossKind::HingeSquares:
        for (Index j = 0; j < classes; ++j) {
          const double missed = static_cast<double>(missing(score(i, j), j == label));
          sum += pass.kind == LossKind::Hinge ? missed : missed * missed;
        }
        return sum;
      case LossKind::Infogain:
        for (Index j = 0; j < classes; ++j)
          sum -= static_cast<double>(matrix()[label * classes + j]) *
                 std::log(static_cast<double>(not_below(score(i, j), static_cast<T>(kLeastProbability))));
        return sum;
      case LossKind::Logistic:
        return -std::log(static_cast<double>(not_below(score(i, label), static_cast<T>(kLeastProbability))));
      case LossKind::Softmax: {
        const T least = sizeof(T) == 4 ? T(1.17549435e-38F) : T(2.2250738585072014e-308);
        return -std::log(static_cast<double>(not_below(score(i, label), least)));
      }
      case LossKind::SmoothSoftmax: {
        const T* const scores = static_cast<const T*>(pass.scores);
        // -log p = lse - score for every class, where lse is best known from the likeliest.
        Index likeliest = 0;
        for (Index j = 0; j < classes; ++j) {
          if (scores[place(i, j)] > scores[place(i, likeliest)]) likeliest = j;
          sum += static_cast<double>(scores[place(i, j)]) / static_cast<double>(classes);
        }
        const double lse =
            static_cast<double>(scores[place(i, likeliest)]) - std::log(static_cast<double>(score(i, likeliest)));
        return lse - (1 - pass.smoothing) * static_cast<double>(scores[place(i, label)]) - pass.smoothing * sum;
      }
      default: return 0;
    }
  }

  /// Of pair, target or example number i, whichever the loss is of.
  __device__ Part operator()(Index i) const {
    switch (pass.kind) {
      case LossKind::Euclidean: {
        const double value = static_cast<double>(x()[i]);
        return {value * value / 2, 1, -1};
      }
      case LossKind::SigmoidCrossEntropy: {
        const T v = x()[i], target = labels()[i];
        if (is_ignored(target)) return {0, 0, -1};
        // log(1 + e^x) - x t, with no power of e that could be infinite; NaN stays.
        const double score = static_cast<double>(v), above = score < 0 ? 0 : score;
        return {above - score * static_cast<double>(target) + std::log1p(std::exp(-std::abs(score))), 1, -1};
      }
      case LossKind::Contrastive:
      case LossKind::ContrastiveSquares: {
        const T label = labels()[i];
        if (label != label) return {0, 0, i};
        const double square = square_of_pair(i);
        if (std::trunc(label) != T(0)) return {square, 1, -1};
        const double apart = pass.margin - (pass.kind == LossKind::Contrastive ? std::sqrt(square) : square);
        const double missed = apart < 0 ? 0 : apart;
        return {pass.kind == LossKind::Contrastive ? missed * missed : missed, 1, -1};
      }
      default: break;
    }
    const Index label = read_label(labels()[i], pass.shape.classes, pass.has_ignore, pass.ignore);
    if (label == kBad) return {0, 0, i};
    if (label == kIgnored) return {0, 0, -1};
    return {of_label(i, label), 1, -1};
  }

  /// The gradient of element number `at`, which is class j of example i.
  __device__ T gradient(Index i, Index j, Index at, T scale) const {
    const T v = x()[at];
    switch (pass.kind) {
      case LossKind::Euclidean: return v * scale;
      case LossKind::SigmoidCrossEntropy: {
        const T target = labels()[at];
        return is_ignored(target) ? T(0) : (sigmoid(v) - target) * scale;
      }
      default: break;
    }
    const Index label = read_label(labels()[i], pass.shape.classes, pass.has_ignore, pass.ignore);
    if (label < 0) return T(0);
    const bool own = j == label;
    switch (pass.kind) {
      case LossKind::Hinge:
      case LossKind::HingeSquares: {
        const T missed = missing(v, own);
        const T slope = pass.kind == LossKind::HingeSquares ? T(2) * missed : missed > T(0) ? T(1) : T(0);
        return own ? -slope * scale : slope * scale;
      }
      case LossKind::Infogain: {
        const T* const row = matrix() + label * pass.shape.classes;
        T sum = 0;
        for (Index k = 0; k < pass.shape.classes; ++k) sum += row[k];
        return (v * sum - row[j]) * scale;
      }
      case LossKind::Logistic: return own ? -scale / not_below(v, static_cast<T>(kLeastProbability)) : T(0);
      case LossKind::Softmax: return (v - (own ? T(1) : T(0))) * scale;
      case LossKind::SmoothSoftmax: {
        const T everywhere = static_cast<T>(pass.smoothing / static_cast<double>(pass.shape.classes));
        return (v - (own ? static_cast<T>(1 - pass.smoothing) + everywhere : everywhere)) * scale;
      }
      default: return T(0);
    }
  }
};

bool is_of_pairs(LossKind kind) {
  return kind == LossKind::Contrastive || kind == LossKind::ContrastiveSquares;
}
bool is_of_numbers(LossKind kind) {
  return kind == LossKind::Euclidean || kind == LossKind::SigmoidCrossEntropy;
}

template <class T>
void loss_of(Context& context, const LossPass& pass, T* y, LossState* state, Index* verdict) {
  const SoftmaxShape& s = pass.shape;
  const Loss<T> loss{pass};
  reduce_all(
      context,
      "loss",
      is_of_pairs(pass.kind)     ? s.outer
      : is_of_numbers(pass.kind) ? s.outer * s.classes * s.inner
                                 : s.outer * s.inner,
      Part{0, 0, -1},
      loss,
      Join{},
      [=] __device__(const Part& all) {
        *verdict = all.bad;
        *state = {all.sum, all.valid};
        *y = static_cast<T>(all.sum / loss.divisor(all.valid));
      });
}

template <class T>
void pairs_backward_of(
    Context& context, const Loss<T>& loss, double factor, const T* dy, const LossState* state, T* dx) {
  const Index size = loss.pass.shape.classes;
  for_rows(context, "gradient of a loss", loss.pass.shape.outer, size, [=] __device__(const Row& block, Index pair) {
    const T scale = static_cast<T>(factor * static_cast<double>(*dy) / loss.divisor(state->valid));
    const T* const x = loss.x() + pair * size;
    const T label = loss.labels()[pair];
    double slope = 2;
    if (label != label) {
      slope = 0;
    } else if (std::trunc(label) == T(0)) {
      const double square =
          block.sum<double>(size, [&](Index j) { return static_cast<double>(x[j]) * static_cast<double>(x[j]); });
      const double distance = std::sqrt(square), missed = loss.pass.margin - distance;
      if (loss.pass.kind == LossKind::ContrastiveSquares)
        slope = loss.pass.margin - square > 0 ? -2 : 0;
      else
        slope = -2 * (missed < 0 ? 0 : missed) / (distance + kDistanceOffset);
    }
    const T f = static_cast<T>(slope) * scale;
    block.each(size, [&](Index j) { dx[pair * size + j] = f == T(0) ? T(0) : f * x[j]; });
  });
}

template <class T>
void loss_backward_of(
    Context& context, const LossPass& pass, double factor, const T* dy, const LossState* state, T* dx) {
  const Loss<T> loss{pass};
  if (is_of_pairs(pass.kind)) return pairs_backward_of(context, loss, factor, dy, state, dx);
  const Index classes = pass.shape.classes, inner = pass.shape.inner;
  for_each(context, "gradient of a loss", pass.shape.outer * classes * inner, [=] __device__(Index at) {
    const T scale = static_cast<T>(factor * static_cast<double>(*dy) / loss.divisor(state->valid));
    const Index row = at / inner, j = row % classes, i = row / classes * inner + at % inner;
    dx[at] = loss.gradient(i, j, at, scale);
  });
}

/// How many examples count, how many of them are right, and the first whose label is none.
struct Count {
  Index counted, right, bad;
};

template <class T>
void accuracy_of(Context& context, const AccuracyPass& pass, Index* verdict) {
  const Index classes = pass.shape.classes, inner = pass.shape.inner, examples = pass.shape.outer * inner;
  const T *const scores = static_cast<const T*>(pass.scores), *const labels = static_cast<const T*>(pass.labels);
  T *const share = static_cast<T*>(pass.share), *const class_shares = static_cast<T*>(pass.class_shares);
  const auto join = [] __device__(const Count& a, const Count& b) {
    return Count{a.counted + b.counted, a.right + b.right, First{}(a.bad, b.bad)};
  };
  const auto ratio = [] __device__(const Count& c) {
    return c.counted == 0 ? T(0) : static_cast<T>(static_cast<double>(c.right) / static_cast<double>(c.counted));
  };
  // Of the examples of one class, or of all where it is -1.
  const auto count = [=] __device__(Index i, Index only) {
    const Index label = read_label(labels[i], classes, pass.has_ignore, pass.ignore);
    if (label < 0 || (only >= 0 && label != only)) return Count{0, 0, label == kBad ? i : -1};
    const T* const score = scores + i / inner * classes * inner + i % inner;
    const T own = score[label * inner];
    Index as_good = -1;  // its own score is one of those
    for (Index c = 0; c < classes && as_good < pass.top_k; ++c) as_good += !(score[c * inner] < own);
    return Count{1, as_good < pass.top_k ? 1 : 0, -1};
  };
  reduce_all(
      context,
      "accuracy",
      examples,
      Count{0, 0, -1},
      [=] __device__(Index i) { return count(i, -1); },
      join,
      [=] __device__(const Count& all) {
        *verdict = all.bad;
        *share = ratio(all);
      });
  if (!class_shares) return;
  for_rows(context, "accuracy of classes", classes, examples, [=] __device__(const Row& block, Index c) {
    const Count of_class = block.reduce(
        examples,
        Count{0, 0, -1},
        [&](Index i) { return count(i, c); },
        join);
    block.once([&] { class_shares[c] = ratio(of_class); });
  });
}

struct Best {
  double value;
  Index place;
};

template <class T>
void arg_max_of(Context& context, const ArgMaxShape& shape, const T* x, T* y) {
  const Index inner = shape.inner, k = shape.top_k, count = shape.count;
  const ArgMaxShape::Top top = shape.top;
  for_rows(context, "arg max", shape.outer * inner, count, [=] __device__(const Row& block, Index i) {
    const bool pairs = top == ArgMaxShape::Top::Pairs;
    const T* const from = x + i / inner * count * inner + i % inner;
    T* const to = y + i / inner * (pairs ? 2 * k : k) * inner + i % inner;
    const auto before = [](const Best& a, const Best& b) {
      const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
      if (a_nan != b_nan) return a_nan;
      return a.value > b.value || (!(b.value > a.value) && a.place > b.place);
    };
    Best last{0, -1};
    for (Index j = 0; j < k; ++j) {
      // The best of those behind the last one; no place is behind all.
      last = block.reduce(
          count,
          Best{0, -1},
          [&](Index c) {
            const Best now{static_cast<double>(from[c * inner]), c};
            return last.place < 0 || before(last, now) ? now : Best{0, -1};
          },
          [&](const Best& a, const Best& b) { return b.place < 0 || (a.place >= 0 && before(a, b)) ? a : b; });
      block.once([&] {
        const T value = static_cast<T>(last.value);
        to[j * inner] = top == ArgMaxShape::Top::Values ? value : static_cast<T>(last.place);
        if (pairs) to[k + j] = value;
      });
    }
  });
}

}  // namespace

void CudaBackend::loss(DType dtype, const LossPass& pass, void* y, LossState* state, Index* verdict) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    loss_of(context_, pass, static_cast<T*>(y), state, verdict);
  });
}

void CudaBackend::loss_backward(
    DType dtype, const LossPass& pass, double factor, const void* dy, const LossState* state, void* dx) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    loss_backward_of(context_, pass, factor, static_cast<const T*>(dy), state, static_cast<T*>(dx));
  });
}

void CudaBackend::accuracy(DType dtype, const AccuracyPass& pass, Index* verdict) {
  with_type(dtype, [&](auto zero) { accuracy_of<decltype(zero)>(context_, pass, verdict); });
}

void CudaBackend::arg_max(DType dtype, const ArgMaxShape& shape, const void* x, void* y) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    arg_max_of(context_, shape, static_cast<const T*>(x), static_cast<T*>(y));
  });
}

}  // namespace sparknet::kernels::cuda
