#include "models.h"
#include "sparknet/layers/accuracy.h"
#include "sparknet/layers/batch_norm.h"
#include "sparknet/layers/convolution.h"
#include "sparknet/layers/eltwise.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/pooling.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/relu.h"
#include "sparknet/layers/scale.h"
#include "sparknet/layers/softmax_with_loss.h"

namespace example {

using namespace sparknet;

namespace {

/// A normalised convolution: "resN", "bnN" and "scaleN". Returns the blob behind them.
std::string conv(NetParam& net, const std::string& name, const std::string& bottom, ConvolutionOptions options) {
  options.bias = false;
  options.weight_filler = Filler::msra();
  net.add(ConvolutionLayer{"res" + name, {bottom}, options})
      .add(BatchNormLayer{"bn" + name, {"res" + name}})
      .add(ScaleLayer{"scale" + name, {"bn" + name}, {.bias = true}});
  return "scale" + name;
}

std::string relu(NetParam& net, const std::string& name, const std::string& bottom) {
  net.add(ReLULayer{name, {bottom}});
  return name;
}

/// relu(x + f(x)), where f goes through a bottleneck. The first block of a stage brings x to the new shape.
std::string block(
    NetParam& net, const std::string& name, const std::string& bottom, Dim width, Dim stride, bool first) {
  const Dim wide = 4 * width;
  std::string x = bottom;
  if (first) x = conv(net, name + "_branch1", bottom, {.kernel = 1, .num_output = wide, .stride = stride});
  std::string f = conv(net, name + "_branch2a", bottom, {.kernel = 1, .num_output = width, .stride = stride});
  f = relu(net, "res" + name + "_branch2a_relu", f);
  f = conv(net, name + "_branch2b", f, {.kernel = 3, .num_output = width, .pad = 1});
  f = relu(net, "res" + name + "_branch2b_relu", f);
  f = conv(net, name + "_branch2c", f, {.kernel = 1, .num_output = wide});
  net.add(EltwiseLayer{"res" + name, {x, f}});
  return relu(net, "res" + name + "_relu", "res" + name);
}

}  // namespace

NetParam resnet50(Dim batch, Dim classes) {
  NetParam net("ResNet-50", RDDLayer{"data", {batch, 3, 224, 224}}, RDDLayer{"label", {batch, 1}});
  net.add(ConvolutionLayer{
              "conv1",
              {"data"},
              {.kernel = 7, .num_output = 64, .stride = 2, .pad = 3, .weight_filler = Filler::msra()}})
      .add(BatchNormLayer{"bn_conv1", {"conv1"}})
      .add(ScaleLayer{"scale_conv1", {"bn_conv1"}, {.bias = true}})
      .add(ReLULayer{"conv1_relu", {"scale_conv1"}})
      .add(PoolingLayer{"pool1", {"conv1_relu"}, {.pooling = Pooling::Max, .kernel = 3, .stride = 2}});

  std::string top = "pool1";
  const int blocks[] = {3, 4, 6, 3};
  for (int stage = 0; stage < 4; ++stage) {
    for (int i = 0; i < blocks[stage]; ++i) {
      const std::string name = std::to_string(stage + 2) + static_cast<char>('a' + i);
      top = block(net, name, top, Dim{64} << stage, stage > 0 && i == 0 ? 2 : 1, i == 0);
    }
  }
  // The prototxt, which is made for trained weights, says nothing of fillers.
  return net.add(PoolingLayer{"pool5", {top}, {.pooling = Pooling::Ave, .kernel = 7, .stride = 1}})
      .add(InnerProductLayer{"fc1000", {"pool5"}, {.num_output = classes, .weight_filler = Filler::gaussian(0, 0.01)}})
      .add(AccuracyLayer{"accuracy", {"fc1000", "label"}, {}, Include::Test})
      .add(SoftmaxWithLoss{"loss", {"fc1000", "label"}});
}

}  // namespace example
