#include "sparknet/layers/accuracy.h"

#include "src/layers/common.h"
#include "src/layers/loss.h"

namespace sparknet {
namespace {

class RunningAccuracy final : public Layer {
 public:
  explicit RunningAccuracy(const AccuracyOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    pass_.shape = classes_along(options_.axis, setup.bottom()[0]);
    pass_.has_ignore = options_.ignore_label.has_value();
    pass_.ignore = options_.ignore_label.value_or(0);
    pass_.top_k = options_.top_k;
    setup.scratch(static_cast<std::size_t>(kernels::accuracy_scratch(pass_.shape)) * sizeof(kernels::Index));
    setup.backward_reads(false, false);
    setup.no_gradient(0);
    setup.no_gradient(1);
    setup.verdict();
  }

  void forward(LayerIO& io) override {
    kernels::AccuracyPass pass = pass_;
    pass.scores = io.bottom(0).raw();
    pass.labels = io.bottom(1).raw();
    pass.share = io.top().raw();
    pass.class_shares = io.tops.size() == 2 ? io.top(1).raw() : nullptr;
    pass.scratch = reinterpret_cast<kernels::Index*>(io.scratch());
    io.backend().accuracy(io.dtype(), pass, io.verdict());
  }

  void backward(LayerIO&) override {}
  void refuse(LayerIO& io, std::int64_t verdict) override { refuse_label(io, verdict, pass_.shape.classes); }

 private:
  AccuracyOptions options_;
  kernels::AccuracyPass pass_{};
};

}  // namespace

std::vector<Shape> AccuracyLayer::infer(std::span<const Shape> in, std::size_t tops) const {
  require(options.top_k > 0, "option .top_k must be positive, not {}", options.top_k);
  const Dim classes = classes_along(options.axis, in[0]).classes;
  require(options.top_k <= classes, "option .top_k is {} and there are {} classes", options.top_k, classes);
  require_one_or_two_tops(tops);
  require_labels(options.axis, in[0], in[1]);
  return tops == 1 ? std::vector{Shape{1}} : std::vector{Shape{1}, Shape{classes}};
}

std::unique_ptr<Layer> AccuracyLayer::make() const {
  return std::make_unique<RunningAccuracy>(options);
}

}  // namespace sparknet
