#include "kernels/cpu/loss.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/labels.h"

namespace sparknet::kernels::cpu {
namespace {

/// Elements below which waking the crew costs more than it saves.
constexpr Index kWorth = 4096;
/// What is added to the distance of a pair before it divides, as Caffe does.
constexpr double kDistanceOffset = 1e-4;

/// What a part of the examples adds.
struct LossPart {
  double sum = 0;
  Index valid = 0, bad_label = -1;
};

template <class T>
const T* array(const void* p) {
  return static_cast<const T*>(p);
}

Index worth_of(const SoftmaxShape& shape) {
  return 1 + kWorth / std::max<Index>(1, shape.classes);
}

/// Adds up f(begin, end) over parts of [0, count), in their order.
template <class F>
LossPart sum_ranges(ThreadTeam& team, Index count, Index worth, F&& f) {
  const int number = sum_parts(count, worth);
  LossPart parts[kMostSumParts];
  for_parts(team, count, number, [&](Index part, Index begin, Index end) { parts[part] = f(begin, end); });
  LossPart total;
  for (int part = 0; part < number; ++part) {
    if (parts[part].bad_label >= 0) return parts[part];
    total.sum += parts[part].sum;
    total.valid += parts[part].valid;
  }
  return total;
}

/// Adds up term(x of an example, its label) over the examples that count.
template <class T, class F>
LossPart sum_labelled(Engine& engine, const LossPass& pass, Index worth, F&& term) {
  const SoftmaxShape& s = pass.shape;
  return sum_ranges(engine.team, s.outer * s.inner, worth, [&](Index begin, Index end) {
    LossPart result;
    for (Index i = begin; i < end; ++i) {
      Index label = 0;
      switch (read_label(array<T>(pass.labels)[i], s.classes, pass.has_ignore, pass.ignore, label)) {
        case Label::Bad: return LossPart{0, 0, i};
        case Label::Ignored: break;
        case Label::Good:
          result.sum += static_cast<double>(term(i / s.inner * s.classes * s.inner + i % s.inner, label));
          ++result.valid;
      }
    }
    return result;
  });
}

/// Calls f(first element of an example, its label) for the examples that count, and clears dx for the others.
template <class T, class F>
void for_labelled(Engine& engine, const LossPass& pass, T* dx, F&& f) {
  const SoftmaxShape& s = pass.shape;
  for_ranges(engine.team, s.outer * s.inner, 1, worth_of(s), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const Index at = i / s.inner * s.classes * s.inner + i % s.inner;
      Index label = 0;
      if (read_label(array<T>(pass.labels)[i], s.classes, pass.has_ignore, pass.ignore, label) == Label::Good)
        f(at, label);
      else
        for (Index j = 0; j < s.classes; ++j) dx[at + j * s.inner] = T(0);
    }
  });
}

/// By how much a score of a hinge misses its margin; NaN stays.
template <class T>
T missing(T score, bool own) {
  const T margin = own ? T(1) - score : T(1) + score;
  return margin <= T(0) ? T(0) : margin;
}

/// In this order of arguments NaN stays.
template <class T>
T log_of(T probability) {
  return std::log(std::max(probability, static_cast<T>(kLeastProbability)));
}

/// What Caffe's conversion to int makes of a label.
template <class T>
T whole(T label) {
  return std::trunc(label);
}

template <class T>
bool is_ignored(const LossPass& pass, T target) {
  return pass.has_ignore && whole(target) == static_cast<T>(pass.ignore);
}

template <class T>
double square_of_row(const T* row, Index count) {
  double sum = 0;
  for (Index j = 0; j < count; ++j) sum += static_cast<double>(row[j]) * static_cast<double>(row[j]);
  return sum;
}

template <class T>
LossPart contrastive(Engine& engine, const LossPass& pass) {
  const SoftmaxShape& s = pass.shape;
  return sum_ranges(engine.team, s.outer, worth_of(s), [&](Index begin, Index end) {
    LossPart result;
    for (Index i = begin; i < end; ++i) {
      const T label = array<T>(pass.labels)[i];
      if (label != label) return LossPart{0, 0, i};
      const double square = square_of_row(array<T>(pass.x) + i * s.classes, s.classes);
      if (whole(label) != T(0)) {
        result.sum += square;
      } else if (pass.kind == LossKind::ContrastiveSquares) {
        result.sum += std::max(pass.margin - square, 0.0);
      } else {
        const double missed = std::max(pass.margin - std::sqrt(square), 0.0);
        result.sum += missed * missed;
      }
    }
    result.valid = end - begin;
    return result;
  });
}

template <class T>
void contrastive_backward(Engine& engine, const LossPass& pass, T scale, T* dx) {
  const SoftmaxShape& s = pass.shape;
  for_ranges(engine.team, s.outer, 1, worth_of(s), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const T* const x = array<T>(pass.x) + i * s.classes;
      double factor = 2;
      if (whole(array<T>(pass.labels)[i]) == T(0)) {
        const double square = square_of_row(x, s.classes), distance = std::sqrt(square);
        if (pass.kind == LossKind::ContrastiveSquares)
          factor = pass.margin - square > 0 ? -2 : 0;
        else
          factor = -2 * std::max(pass.margin - distance, 0.0) / (distance + kDistanceOffset);
      }
      const T f = static_cast<T>(factor) * scale;
      for (Index j = 0; j < s.classes; ++j) dx[i * s.classes + j] = f == T(0) ? T(0) : f * x[j];
    }
  });
}

template <class T>
LossPart sigmoid_cross_entropy(Engine& engine, const LossPass& pass) {
  const Index count = pass.shape.outer * pass.shape.classes * pass.shape.inner;
  const T *const x = array<T>(pass.x), *const targets = array<T>(pass.labels);
  return sum_ranges(engine.team, count, kWorth, [&](Index begin, Index end) {
    LossPart result;
    for (Index i = begin; i < end; ++i) {
      if (is_ignored(pass, targets[i])) continue;
      // log(1 + e^x) - x t, with no power of e that could be infinite; NaN stays.
      const T above = x[i] < T(0) ? T(0) : x[i];
      result.sum += static_cast<double>(above - x[i] * targets[i] + std::log1p(std::exp(-std::abs(x[i]))));
      ++result.valid;
    }
    return result;
  });
}

template <class T>
LossPart loss_sum(Engine& engine, const LossPass& pass) {
  const Index classes = pass.shape.classes, step = pass.shape.inner;
  const T* const x = array<T>(pass.x);
  switch (pass.kind) {
    case LossKind::Contrastive:
    case LossKind::ContrastiveSquares: return contrastive<T>(engine, pass);
    case LossKind::Euclidean: {
      const Index count = pass.shape.outer * classes * step;
      return sum_ranges(engine.team, count, kWorthWaking, [&](Index begin, Index end) {
        return LossPart{table<T>(engine).sum_squares(end - begin, x + begin) / 2, end - begin, -1};
      });
    }
    case LossKind::SigmoidCrossEntropy: return sigmoid_cross_entropy<T>(engine, pass);
    case LossKind::Hinge:
    case LossKind::HingeSquares:
      return sum_labelled<T>(engine, pass, worth_of(pass.shape), [&](Index at, Index label) {
        T sum = 0;
        for (Index j = 0; j < classes; ++j) {
          const T missed = missing(x[at + j * step], j == label);
          sum += pass.kind == LossKind::Hinge ? missed : missed * missed;
        }
        return sum;
      });
    case LossKind::Infogain:
      return sum_labelled<T>(engine, pass, worth_of(pass.shape), [&](Index at, Index label) {
        const T* const row = array<T>(pass.matrix) + label * classes;
        T sum = 0;
        for (Index j = 0; j < classes; ++j) sum -= row[j] * log_of(x[at + j * step]);
        return sum;
      });
    case LossKind::Logistic:
      return sum_labelled<T>(engine, pass, worth_of(pass.shape), [&](Index at, Index label) {
        return -log_of(x[at + label * step]);
      });
    case LossKind::Softmax:
      return sum_labelled<T>(engine, pass, worth_of(pass.shape), [&](Index at, Index label) {
        // In this order of arguments NaN stays.
        return -std::log(static_cast<double>(std::max(x[at + label * step], std::numeric_limits<T>::min())));
      });
    case LossKind::SmoothSoftmax:
      return sum_labelled<T>(engine, pass, worth_of(pass.shape), [&](Index at, Index label) {
        const T* const scores = array<T>(pass.scores);
        // -log p = lse - score for every class, where lse is best known from the likeliest.
        Index likeliest = 0;
        double mean = 0;
        for (Index j = 0; j < classes; ++j) {
          if (scores[at + j * step] > scores[at + likeliest * step]) likeliest = j;
          mean += static_cast<double>(scores[at + j * step]) / static_cast<double>(classes);
        }
        const double lse = static_cast<double>(scores[at + likeliest * step]) -
                           std::log(static_cast<double>(x[at + likeliest * step]));
        return lse - (1 - pass.smoothing) * static_cast<double>(scores[at + label * step]) - pass.smoothing * mean;
      });
  }
  return {};
}

double divisor(const LossPass& pass, Index valid) {
  return pass.divisor != 0 ? pass.divisor : static_cast<double>(std::max<Index>(valid, 1));
}

}  // namespace

template <class T>
void loss(Engine& engine, const LossPass& pass, T* y, LossState* state, Index* verdict) {
  const LossPart total = loss_sum<T>(engine, pass);
  *verdict = total.bad_label;
  if (total.bad_label >= 0) return;
  *state = {total.sum, total.valid};
  *y = static_cast<T>(total.sum / divisor(pass, total.valid));
}

template <class T>
void loss_backward(Engine& engine, const LossPass& pass, double factor, const T* dy, const LossState* state, T* dx) {
  const T scale = static_cast<T>(factor * static_cast<double>(*dy) / divisor(pass, state->valid));
  const Index classes = pass.shape.classes, step = pass.shape.inner;
  const T* const x = array<T>(pass.x);
  switch (pass.kind) {
    case LossKind::Contrastive:
    case LossKind::ContrastiveSquares: return contrastive_backward(engine, pass, scale, dx);
    case LossKind::Euclidean:
      for_ranges(engine.team, pass.shape.outer * classes * step, 64, kWorthWaking, [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) dx[i] = x[i] * scale;
      });
      return;
    case LossKind::SigmoidCrossEntropy: {
      const T* const targets = array<T>(pass.labels);
      for_ranges(engine.team, pass.shape.outer * classes * step, 64, kWorth, [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i)
          dx[i] = is_ignored(pass, targets[i]) ? T(0) : (T(1) / (T(1) + std::exp(-x[i])) - targets[i]) * scale;
      });
      return;
    }
    case LossKind::Hinge:
    case LossKind::HingeSquares:
      return for_labelled(engine, pass, dx, [&](Index at, Index label) {
        for (Index j = 0; j < classes; ++j) {
          const T missed = missing(x[at + j * step], j == label);
          const T slope = pass.kind == LossKind::HingeSquares ? T(2) * missed : missed > T(0) ? T(1) : T(0);
          dx[at + j * step] = j == label ? -slope * scale : slope * scale;
        }
      });
    case LossKind::Infogain:
      return for_labelled(engine, pass, dx, [&](Index at, Index label) {
        const T* const row = array<T>(pass.matrix) + label * classes;
        T sum = 0;
        for (Index j = 0; j < classes; ++j) sum += row[j];
        for (Index j = 0; j < classes; ++j) dx[at + j * step] = (x[at + j * step] * sum - row[j]) * scale;
      });
    case LossKind::Logistic:
      return for_labelled(engine, pass, dx, [&](Index at, Index label) {
        for (Index j = 0; j < classes; ++j) dx[at + j * step] = T(0);
        dx[at + label * step] = -scale / std::max(x[at + label * step], static_cast<T>(kLeastProbability));
      });
    case LossKind::Softmax:
      return for_labelled(engine, pass, dx, [&](Index at, Index label) {
        for (Index j = 0; j < classes; ++j) dx[at + j * step] = (x[at + j * step] - (j == label ? T(1) : T(0))) * scale;
      });
    case LossKind::SmoothSoftmax:
      return for_labelled(engine, pass, dx, [&](Index at, Index label) {
        const T everywhere = static_cast<T>(pass.smoothing / static_cast<double>(classes));
        const T own = static_cast<T>(1 - pass.smoothing) + everywhere;
        for (Index j = 0; j < classes; ++j)
          dx[at + j * step] = (x[at + j * step] - (j == label ? own : everywhere)) * scale;
      });
  }
}

#define SPARKNET_LOSS(T)                                                   \
  template void loss<T>(Engine&, const LossPass&, T*, LossState*, Index*); \
  template void loss_backward<T>(Engine&, const LossPass&, double, const T*, const LossState*, T*);
SPARKNET_LOSS(float)
SPARKNET_LOSS(double)
#undef SPARKNET_LOSS

}  // namespace sparknet::kernels::cpu
