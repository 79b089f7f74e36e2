#include "tests/nets.h"

#include "sparknet/layers/batch_norm.h"
#include "sparknet/layers/concat.h"
#include "sparknet/layers/convolution.h"
#include "sparknet/layers/dropout.h"
#include "sparknet/layers/eltwise.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/lrn.h"
#include "sparknet/layers/pooling.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/relu.h"
#include "sparknet/layers/scale.h"
#include "sparknet/layers/softmax_with_loss.h"

namespace sparknet::testing {

NetParam small_lenet(Dim batch) {
  return NetParam(
      "small LeNet",
      RDDLayer{"data", {batch, 1, 12, 12}},
      RDDLayer{"label", {batch, 1}},
      ConvolutionLayer{"conv1", {"data"}, {.kernel = 3, .num_output = 4}},
      PoolingLayer{"pool1", {"conv1"}, {.kernel = 2, .stride = 2}},
      ConvolutionLayer{"conv2", {"pool1"}, {.kernel = {3, 2}, .num_output = 6}},
      PoolingLayer{"pool2", {"conv2"}, {.pooling = Pooling::Ave, .kernel = 2, .stride = 2}},
      InnerProductLayer{"ip1", {"pool2"}, {.num_output = 16}},
      ReLULayer{"relu1", {"ip1"}},
      InnerProductLayer{"ip2", {"relu1"}, {.num_output = 5}},
      SoftmaxWithLoss{"loss", {"ip2", "label"}});
}

NetParam branching_net(Dim batch) {
  return NetParam(
      "branches",
      RDDLayer{"data", {batch, 2, 8, 8}},
      RDDLayer{"label", {batch}},
      ConvolutionLayer{"conv", {"data"}, {.kernel = 3, .num_output = 6, .pad = 1}},
      ReLULayer{"relu", {"conv"}},  // fused; read by four
      LRNLayer{"norm", {"relu"}, {.local_size = 3, .alpha = 0.1}},
      ConvolutionLayer{"left", {"relu"}, {.kernel = 3, .num_output = 4, .pad = 1, .group = 2}},
      DropoutLayer{"drop", {"left"}, {.ratio = 0.25}},
      ReLULayer{"leaky", {"drop"}, {.negative_slope = 0.1}},
      PoolingLayer{"right", {"relu"}, {.kernel = 3, .stride = 1, .pad = 1}},
      EltwiseLayer{"sum", {"relu", "right", "norm"}, {.coeff = {1, -0.5, 2}}},
      ConcatLayer{"both", {"leaky", "sum"}},
      ReLULayer{"again", {"both"}},
      InnerProductLayer{"ip", {"again"}, {.num_output = 5}},
      InnerProductLayer{"side", {"again"}, {.num_output = 5, .bias = false}},
      EltwiseLayer{"scores", {"ip", "side"}},
      SoftmaxWithLoss{"loss", {"scores", "label"}},
      SoftmaxWithLoss{"side_loss", {"side", "label"}, {.loss_weight = 0.3}});
}

NetParam random_net(Dim batch, std::uint64_t seed) {
  Random random(seed, 78);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random.below(n)); };
  struct Blob {
    std::string name;
    Dim channels;
  };
  std::vector<Blob> blobs{{"data", 2}};
  NetParam net("random " + std::to_string(seed), RDDLayer{"data", {batch, 2, 8, 8}}, RDDLayer{"label", {batch}});
  const auto pick = [&] { return blobs[blobs.size() - 1 - below(std::min<std::size_t>(blobs.size(), 3))]; };
  for (std::size_t i = 3 + below(9); i > 0; --i) {
    const std::string name = "layer" + std::to_string(blobs.size());
    const Blob a = pick(), b = pick();
    Dim channels = a.channels;
    switch (below(10)) {
      case 0:
      case 1:
        channels = 1 + static_cast<Dim>(below(4));
        net.add(ConvolutionLayer{name, {a.name}, {.kernel = 3, .num_output = channels, .pad = 1}});
        break;
      case 2:
      case 3: net.add(ReLULayer{name, {a.name}, {.negative_slope = below(2) ? 0.0 : 0.2}}); break;
      case 4: net.add(DropoutLayer{name, {a.name}, {.ratio = 0.3}}); break;
      case 5: net.add(LRNLayer{name, {a.name}, {.local_size = 3, .alpha = 0.1}}); break;
      case 6: net.add(PoolingLayer{name, {a.name}, {.kernel = 3, .stride = 1, .pad = 1}}); break;
      case 7:
        net.add(BatchNormLayer{name + "_norm", {a.name}})
            .add(ScaleLayer{name, {name + "_norm"}, {.bias = below(2) != 0}});
        break;
      case 8:
        if (a.channels == b.channels && a.name != b.name) {
          net.add(EltwiseLayer{name, {a.name, b.name}, {.coeff = {1, below(2) ? 1.0 : -0.5}}});
          break;
        }
        [[fallthrough]];
      default: channels = a.channels + b.channels; net.add(ConcatLayer{name, {a.name, b.name}});
    }
    blobs.push_back({name, channels});
  }
  for (std::size_t i = 0; i < 1 + below(2); ++i) {
    const std::string number = std::to_string(i);
    net.add(InnerProductLayer{"ip" + number, {i == 0 ? blobs.back().name : pick().name}, {.num_output = 5}})
        .add(SoftmaxWithLoss{"loss" + number, {"ip" + number, "label"}});
  }
  return net;
}

SourcePtr random_examples(Dim count, const Shape& shape, std::uint64_t seed) {
  Shape data_shape{count};
  for (const Dim d : shape) data_shape.push_back(d);
  Tensor data(data_shape), label(Shape{count, 1}, DType::I32);
  Random random(seed, 77);
  for (float& x : data.span<float>()) x = static_cast<float>(random.gaussian());
  for (std::int32_t& y : label.span<std::int32_t>()) y = static_cast<std::int32_t>(random.below(5));
  return from_tensors({{"data", data}, {"label", label}});
}

}  // namespace sparknet::testing
