#include "sparknet/layers/dummy_data.h"

#include "sparknet/random.h"
#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningDummyData final : public Layer {
 public:
  explicit RunningDummyData(const DummyDataOptions& options) : fillers_(options.data_filler) {}

  void setup(LayerSetup& setup) override {
    const std::span<const Shape> tops = setup.top();
    if (fillers_.empty()) fillers_.push_back(Filler::constant(0));
    if (fillers_.size() != tops.size()) fillers_.resize(tops.size(), fillers_[0]);
    for (std::size_t i = 0; i < tops.size(); ++i) require_fit(fillers_[i], tops[i], setup.dtype());
    for (std::size_t i = 0; i < tops.size() && !setup.backend().on_host(); ++i)
      made_.emplace_back(tops[i], setup.dtype());
    setup.backward_reads(false, false);
  }

  void forward(LayerIO& io) override {
    // In the test phase passes have no number.
    Random random(io.seed(), io.sequence() + (io.phase() == Phase::Test ? passes_++ : 0));
    for (std::size_t i = 0; i < fillers_.size(); ++i) {
      fill(fillers_[i], made_.empty() ? io.top(i) : made_[i], random);
      if (!made_.empty()) io.backend().write(io.top(i).raw(), made_[i].raw(), made_[i].bytes());
    }
  }

  void backward(LayerIO&) override {}

 private:
  /// Refuses now what the filler would refuse in every pass.
  static void require_fit(const Filler& filler, const Shape& shape, DType dtype) {
    if (filler.type != Filler::Type::Bilinear && filler.sparse < 0) return;
    Tensor trial(shape, dtype);
    Random random(0);
    try {
      fill(filler, trial, random);
    } catch (const ShapeError& why) {
      throw BadInput(why.what());
    }
  }

  std::vector<Filler> fillers_;
  std::uint64_t passes_ = 0;
  std::vector<Tensor> made_;  // on the host, where the tops are not
};

}  // namespace

std::vector<Shape> DummyDataLayer::infer(std::span<const Shape> in, std::size_t tops) const {
  require(in.empty(), "takes no inputs, not {}", in.size());
  const std::size_t fillers = options.data_filler.size();
  require(
      fillers <= 1 || fillers == tops,
      "option .data_filler has {} fillers and there {} {} top{}; give none, one for all or one for each",
      fillers,
      tops == 1 ? "is" : "are",
      tops,
      tops == 1 ? "" : "s");
  return shapes_of_tops(options.shape, tops);
}

std::unique_ptr<Layer> DummyDataLayer::make() const {
  return std::make_unique<RunningDummyData>(options);
}

}  // namespace sparknet
