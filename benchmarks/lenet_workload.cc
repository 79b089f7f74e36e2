#include "lenet_workload.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "examples/lenet/digits.h"
#include "examples/lenet/lenet.h"
#include "sparknet/data/mnist.h"
#include "sparknet/layers/convolution.h"
#include "sparknet/layers/inner_product.h"

namespace bench {
namespace {

using namespace sparknet;

class StopwatchLayer final : public Layer {
 public:
  StopwatchLayer(std::unique_ptr<Layer> layer, LayerTimes& times) : layer_(std::move(layer)), times_(times) {}

  void setup(LayerSetup& setup) override { layer_->setup(setup); }
  void forward(LayerIO& io) override {
    time(times_.forward, [&] { layer_->forward(io); });
  }
  void backward(LayerIO& io) override {
    time(times_.backward, [&] { layer_->backward(io); });
  }
  std::optional<FusedReLU> as_relu() const override { return layer_->as_relu(); }
  bool fuse(const FusedReLU& relu) override { return layer_->fuse(relu); }

 private:
  template <class F>
  static void time(std::vector<double>& times, F f) {
    const auto start = std::chrono::steady_clock::now();
    f();
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }

  std::unique_ptr<Layer> layer_;
  LayerTimes& times_;
};

struct Stopwatch {
  static constexpr std::string_view type = "Stopwatch";
  std::string name;
  LayerParam layer;
  LayerTimes* times;
  std::optional<Include> include = layer.include();
  Where where = layer.where();

  std::span<const std::string> inputs() const { return layer.inputs(); }
  std::vector<std::string> tops() const { return layer.tops(); }
  std::vector<Shape> infer(std::span<const Shape> in) const { return layer.infer(in); }
  std::unique_ptr<Layer> make() const {
    std::unique_ptr<Layer> made = layer.make();
    if (!made) return nullptr;
    return std::make_unique<StopwatchLayer>(std::move(made), *times);
  }
  bool operator==(const Stopwatch&) const = default;
};

float to_float(std::byte byte) {
  return static_cast<float>(std::to_integer<unsigned>(byte));
}

double flop(const InferredLayer& layer) {
  Dim products = 0;
  if (const auto* convolution = layer.param.as<ConvolutionLayer>()) {
    const ConvolutionOptions& o = convolution->options;
    products = layer.bottom_shapes[0][1] / o.group * o.kernel.h * o.kernel.w;
  } else if (layer.param.as<InnerProductLayer>()) {
    products = layer.bottom_shapes[0].count() / layer.bottom_shapes[0][0];
  }
  return 2 * static_cast<double>(products * (products ? layer.top_shapes[0].count() : 0));
}

}  // namespace

Digits read_digits() {
  const char* folder = std::getenv("SPARKNET_DATA_DIR");
  const bool real = folder && *folder;
  const SourcePtr source =
      real ? read_mnist_folder(std::filesystem::path(folder) / "mnist", true) : example::rendered_digits(true);
  Digits digits{
      real ? "MNIST" : "rendered digits (SPARKNET_DATA_DIR is not set)",
      Tensor({batch * batches, 1, 28, 28}),
      Tensor({batch * batches, 1})};

  const std::size_t image = static_cast<std::size_t>(source->column("data"));
  const std::size_t label = static_cast<std::size_t>(source->column("label"));
  std::vector<std::byte> buffer(28 * 28);
  float* pixels = digits.data.span<float>().data();
  for (Dim i = 0; i < batch * batches; ++i) {
    const std::byte* bytes = source->example(i, image, buffer.data());
    for (Dim k = 0; k < 28 * 28; ++k) *pixels++ = to_float(bytes[k]) / 256;
    digits.label.set<float>(to_float(*source->example(i, label, buffer.data())), i, 0);
  }
  return digits;
}

std::unique_ptr<Solver> make_solver(NetParam net, const Digits& digits, int threads) {
  SolverParam param = example::lenet_solver();
  param.lr_policy = lr_policy::Fixed{};
  auto solver = std::make_unique<Solver>(param, std::move(net), NetOptions{.threads = threads});
  solver->set_training_data(digits.source(), {.prefetch = 0});
  return solver;
}

NetParam with_stopwatches(const NetParam& net, std::vector<LayerTimes>& times) {
  times.reserve(net.layers.size());  // addresses are kept
  NetParam timed(net.name);
  for (const InferredLayer& layer : infer_shapes(net, Phase::Train)) {
    if (layer.param.type() == "RDDLayer") {
      timed.add(layer.param);
    } else {
      times.push_back({layer.param.name(), flop(layer)});
      timed.add(Stopwatch{layer.param.name(), layer.param, &times.back()});
    }
  }
  return timed;
}

}  // namespace bench
