#include <algorithm>

#include "models.h"
#include "sparknet/layers/accuracy.h"
#include "sparknet/layers/concat.h"
#include "sparknet/layers/convolution.h"
#include "sparknet/layers/dropout.h"
#include "sparknet/layers/pooling.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/relu.h"
#include "sparknet/layers/softmax_with_loss.h"

namespace example {

using namespace sparknet;

namespace {

/// "PART/NAME" and its ReLU. Returns the blob behind them.
std::string conv(
    NetParam& net, const std::string& part, const std::string& name, const std::string& bottom,
    const ConvolutionOptions& options) {
  const std::string layer = part + "/" + name, relu = part + "/relu_" + name;
  net.add(ConvolutionLayer{layer, {bottom}, options}).add(ReLULayer{relu, {layer}});
  return relu;
}

/// Few channels, then many: half by kernels of one pixel and half by those of nine.
std::string fire(NetParam& net, const std::string& part, const std::string& bottom, Dim squeeze, Dim expand) {
  const std::string few = conv(net, part, "squeeze1x1", bottom, {.kernel = 1, .num_output = squeeze});
  const std::string one = conv(net, part, "expand1x1", few, {.kernel = 1, .num_output = expand});
  const std::string nine = conv(net, part, "expand3x3", few, {.kernel = 3, .num_output = expand, .pad = 1});
  net.add(ConcatLayer{part + "/concat", {one, nine}});
  return part + "/concat";
}

std::string pool(NetParam& net, const std::string& name, const std::string& bottom) {
  net.add(PoolingLayer{name, {bottom}, {.pooling = Pooling::Max, .kernel = 3, .stride = 2}});
  return name;
}

}  // namespace

NetParam squeezenet(Dim batch, Dim classes) {
  NetParam net(
      "SqueezeNet_v1.1",
      RDDLayer{"data", {batch, 3, 227, 227}},
      RDDLayer{"label", {batch, 1}},
      ConvolutionLayer{"conv1", {"data"}, {.kernel = 3, .num_output = 64, .stride = 2}},
      ReLULayer{"relu_conv1", {"conv1"}});
  std::string top = pool(net, "pool1", "relu_conv1");
  for (int i = 2; i <= 9; ++i) {
    const Dim squeeze = 16 * (i / 2), expand = 4 * squeeze;  // 16, 16, 32, 32, 48, 48, 64, 64
    top = fire(net, "fire" + std::to_string(i), top, squeeze, expand);
    if (i == 3 || i == 5) top = pool(net, "pool" + std::to_string(i), top);
  }
  return net.add(DropoutLayer{"drop9", {top}})
      .add(ConvolutionLayer{
          "conv10",
          {"drop9"},
          {.kernel = 1, .num_output = classes, .weight_filler = Filler::gaussian(0, 0.01)}})
      .add(ReLULayer{"relu_conv10", {"conv10"}})
      .add(PoolingLayer{"pool10", {"relu_conv10"}, {.pooling = Pooling::Ave, .global = true}})
      .add(SoftmaxWithLoss{"loss", {"pool10", "label"}})
      .add(AccuracyLayer{"accuracy", {"pool10", "label"}, {}, Include::Test})
      .add(AccuracyLayer{"accuracy_top5", {"pool10", "label"}, {.top_k = std::min<Dim>(5, classes)}, Include::Test});
}

}  // namespace example
