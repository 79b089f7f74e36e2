#pragma once

// What losses, and layers that read labels, have in common.

#include <cstddef>
#include <memory>
#include <span>

#include "kernels/kernels.h"
#include "sparknet/layer.h"
#include "sparknet/layers/normalization.h"

namespace sparknet {

/// LossPass::divisor of a sum over `labels` labels of `batch` examples.
double divisor(Normalization normalization, Dim batch, Dim labels);

/// Refuses an infinite weight of a loss.
void require_loss_weight(double weight);
/// Refuses more tops than two.
void require_one_or_two_tops(std::size_t tops);
/// Refuses two inputs that do not hold the same number of examples, or no examples at all.
void require_same_batch(const char* first, const Shape& a, const char* second, const Shape& b);
/// Refuses two inputs that do not hold the same number of examples of the same size.
void require_same_examples(const char* first, const Shape& a, const char* second, const Shape& b);
/// Refuses labels that are not one for each distribution of the scores.
void require_labels(Dim axis, const Shape& scores, const Shape& labels);
/// Refuses labels that are not one for each example.
void require_label_per_example(const Shape& scores, const Shape& labels);

/// The scores of a classifier that has as many classes as an example has numbers.
kernels::SoftmaxShape classes_per_example(const Shape& scores);

/// Refuses the label with number `index` of all that bottom 1 holds.
[[noreturn]] void refuse_label(const LayerIO& io, Dim index, Dim classes);

/// A loss whose verdict is about its labels: runs a LossPass, which may change from one pass to the next, and keeps
/// what backward wants of it behind the state that was asked for before.
class LossRun {
 public:
  /// Asks for its memory, after all other state.
  void setup(LayerSetup& setup);
  void forward(LayerIO& io, const kernels::LossPass& pass) const;
  /// Overwrites the gradient of a bottom with `factor` times that of the pass.
  void backward(LayerIO& io, const kernels::LossPass& pass, std::size_t bottom = 0, double factor = 1) const;

 private:
  kernels::LossState* state(LayerIO& io) const;
  std::size_t at_ = 0;
};

/// A loss of scores and labels that looks at each example, or each score, by itself: `pass` says which one, and what
/// counts; its arrays and their shape are the bottoms'.
std::unique_ptr<Layer> make_loss(const kernels::LossPass& pass, Normalization normalization, double loss_weight);

/// The softmax in a loss: its probabilities are the second top, or kept from forward to backward where there is none.
class InnerSoftmax {
 public:
  void setup(LayerSetup& setup, Dim axis);
  const kernels::SoftmaxShape& shape() const { return shape_; }
  void forward(LayerIO& io) const;
  const std::byte* probabilities(LayerIO& io) const { return has_top_ ? io.top(1).raw() : io.state(); }
  /// Adds the gradient that comes through the second top to that of the scores.
  void add_gradient_of_top(LayerIO& io) const;

 private:
  kernels::SoftmaxShape shape_{};
  bool has_top_ = false;
};

}  // namespace sparknet
