#include "src/layers/loss.h"

#include <algorithm>
#include <string>

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningLoss final : public Layer {
 public:
  RunningLoss(const kernels::LossPass& pass, Normalization normalization, double loss_weight)
      : pass_(pass), normalization_(normalization), loss_weight_(loss_weight) {}

  void setup(LayerSetup& setup) override {
    pass_.shape = classes_per_example(setup.bottom()[0]);
    pass_.divisor = divisor(normalization_, pass_.shape.outer, setup.bottom()[1].count());
    run_.setup(setup);
    setup.backward_reads(true, false);
    setup.no_gradient(1);
    setup.loss(loss_weight_);
  }

  void forward(LayerIO& io) override { run_.forward(io, pass_of(io)); }
  void backward(LayerIO& io) override { run_.backward(io, pass_of(io)); }
  void refuse(LayerIO& io, std::int64_t verdict) override { refuse_label(io, verdict, pass_.shape.classes); }

 private:
  kernels::LossPass pass_of(const LayerIO& io) const {
    kernels::LossPass pass = pass_;
    pass.x = io.bottom(0).raw();
    pass.labels = io.bottom(1).raw();
    return pass;
  }

  kernels::LossPass pass_;
  Normalization normalization_;
  double loss_weight_;
  LossRun run_;
};

}  // namespace

std::string to_text(Normalization value) {
  switch (value) {
    case Normalization::Full: return "Normalization::Full";
    case Normalization::Valid: return "Normalization::Valid";
    case Normalization::BatchSize: return "Normalization::BatchSize";
    case Normalization::None: return "Normalization::None";
  }
  return {};
}

double divisor(Normalization normalization, Dim batch, Dim labels) {
  switch (normalization) {
    case Normalization::Full: return static_cast<double>(std::max<Dim>(labels, 1));
    case Normalization::Valid: return 0;
    case Normalization::BatchSize: return static_cast<double>(std::max<Dim>(batch, 1));
    case Normalization::None: break;
  }
  return 1;
}

void require_loss_weight(double weight) {
  require_finite("loss_weight", weight);
}

void require_one_or_two_tops(std::size_t tops) {
  require(tops == 1 || tops == 2, "has one top or two, not {}", tops);
}

void require_same_batch(const char* first, const Shape& a, const char* second, const Shape& b) {
  require(
      !a.empty() && !b.empty(),
      "expects examples: the {} are {} and the {} {}",
      first,
      to_string(a),
      second,
      to_string(b));
  require(a[0] == b[0], "the {} hold {} examples and the {} {}", first, a[0], second, b[0]);
}

void require_same_examples(const char* first, const Shape& a, const char* second, const Shape& b) {
  require_same_batch(first, a, second, b);
  require(
      a.count(1) == b.count(1),
      "the {} hold {} numbers for each example and the {} {}",
      first,
      a.count(1),
      second,
      b.count(1));
}

void require_labels(Dim axis, const Shape& scores, const Shape& labels) {
  const auto [outer, classes, inner] = classes_along(axis, scores);
  const Dim examples = axis_of(axis, scores) == 0 ? inner : scores[0];
  const Dim labelled = labels.empty() ? 1 : labels[0];
  require(examples == labelled, "the scores hold {} examples and the labels {}", examples, labelled);
  const Dim wanted = outer * inner / examples, given = labels.count(1);
  require(wanted == given || wanted != 1, "expects one label for each example, not {}", given);
  require(wanted == given, "expects {} labels for each example, not {}", wanted, given);
}

void require_label_per_example(const Shape& scores, const Shape& labels) {
  require_same_batch("scores", scores, "labels", labels);
  require(labels.count(1) == 1, "expects one label for each example, not {}", labels.count(1));
}

kernels::SoftmaxShape classes_per_example(const Shape& scores) {
  return {scores[0], scores.count(1), 1};
}

void refuse_label(const LayerIO& io, Dim index, Dim classes) {
  const Tensor& labels = io.bottom(1);
  const Dim per_example = labels.shape().count(1);
  const std::string position = per_example == 1 ? "" : fmt::format("at position {} ", index % per_example);
  throw BadInput(fmt::format(
      "the label of example {} {}is {} and there are {} classes",
      index / per_example,
      position,
      element(io, labels, index),
      classes));
}

std::unique_ptr<Layer> make_loss(const kernels::LossPass& pass, Normalization normalization, double loss_weight) {
  return std::make_unique<RunningLoss>(pass, normalization, loss_weight);
}

void LossRun::setup(LayerSetup& setup) {
  constexpr std::size_t kAlignment = alignof(kernels::LossState);
  at_ = (setup.state_bytes + kAlignment - 1) / kAlignment * kAlignment;
  setup.state(at_ - setup.state_bytes + sizeof(kernels::LossState));
  setup.verdict();
}

kernels::LossState* LossRun::state(LayerIO& io) const {
  return reinterpret_cast<kernels::LossState*>(io.state() + at_);
}

void LossRun::forward(LayerIO& io, const kernels::LossPass& pass) const {
  io.backend().loss(io.dtype(), pass, io.top().raw(), state(io), io.verdict());
}

void LossRun::backward(LayerIO& io, const kernels::LossPass& pass, std::size_t bottom, double factor) const {
  if (!io.needs_bottom_diff(bottom)) return;
  io.backend().loss_backward(io.dtype(), pass, factor, io.top_diff().raw(), state(io), io.bottom_diff(bottom).raw());
}

void InnerSoftmax::setup(LayerSetup& setup, Dim axis) {
  const Shape& scores = setup.bottom()[0];
  const std::size_t bytes = static_cast<std::size_t>(scores.count()) * size_of(setup.dtype());
  shape_ = classes_along(axis, scores);
  has_top_ = setup.top().size() == 2;
  if (has_top_)
    setup.scratch(bytes);
  else
    setup.state(bytes);
  setup.backward_reads(true, has_top_);
}

void InnerSoftmax::forward(LayerIO& io) const {
  io.backend().softmax(io.dtype(), shape_, io.bottom(0).raw(), has_top_ ? io.top(1).raw() : io.state());
}

void InnerSoftmax::add_gradient_of_top(LayerIO& io) const {
  if (!has_top_) return;
  const Dim count = io.top(1).count();
  io.backend().softmax_backward(io.dtype(), shape_, io.top(1).raw(), io.top_diff(1).raw(), io.scratch());
  io.backend().axpy(io.dtype(), count, 1, io.scratch(), io.bottom_diff().raw());
}

}  // namespace sparknet
