#include <algorithm>

#include "models.h"
#include "sparknet/layers/accuracy.h"
#include "sparknet/layers/concat.h"
#include "sparknet/layers/convolution.h"
#include "sparknet/layers/dropout.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/lrn.h"
#include "sparknet/layers/pooling.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/relu.h"
#include "sparknet/layers/softmax_with_loss.h"

namespace example {

using namespace sparknet;

namespace {

using Phases = std::optional<Include>;

/// Biases learn twice as fast and do not decay.
template <class Options>
Options learned(Options options, double bias) {
  options.bias_filler = Filler::constant(bias);
  options.lr_mult = {1, 2};
  options.decay_mult = {1, 0};
  return options;
}

/// A convolution "PART/NAME" and its ReLU "PART/relu_NAME", whose name has no stride. Returns the blob behind them.
std::string conv(
    NetParam& net, const std::string& part, const std::string& name, const std::string& bottom,
    const ConvolutionOptions& options, Phases phases = {}) {
  const std::string layer = part + "/" + name, relu = part + "/relu_" + name.substr(0, name.find("_s2"));
  net.add(ConvolutionLayer{layer, {bottom}, learned(options, 0.2), phases});
  net.add(ReLULayer{relu, {layer}, {}, phases});
  return relu;
}

/// How many channels each way through an inception has, and the reductions before the larger kernels.
struct Inception {
  const char* name;
  Dim one, three_reduce, three, five_reduce, five, pool;
};

std::string inception(NetParam& net, const std::string& bottom, const Inception& ways) {
  const std::string part = std::string("inception_") + ways.name;
  const std::string one = conv(net, part, "1x1", bottom, {.kernel = 1, .num_output = ways.one});
  std::string three = conv(net, part, "3x3_reduce", bottom, {.kernel = 1, .num_output = ways.three_reduce});
  three = conv(net, part, "3x3", three, {.kernel = 3, .num_output = ways.three, .pad = 1});
  std::string five = conv(net, part, "5x5_reduce", bottom, {.kernel = 1, .num_output = ways.five_reduce});
  five = conv(net, part, "5x5", five, {.kernel = 5, .num_output = ways.five, .pad = 2});
  net.add(PoolingLayer{part + "/pool", {bottom}, {.pooling = Pooling::Max, .kernel = 3, .stride = 1, .pad = 1}});
  const std::string pool = conv(net, part, "pool_proj", part + "/pool", {.kernel = 1, .num_output = ways.pool});
  net.add(ConcatLayer{part + "/output", {one, three, five, pool}});
  return part + "/output";
}

/// A classifier in the middle of the net, to bring the gradient there while it learns.
void side_loss(NetParam& net, const std::string& part, const std::string& bottom, Dim classes) {
  const Phases train = Include::Train;
  net.add(PoolingLayer{part + "/ave_pool", {bottom}, {.pooling = Pooling::Ave, .kernel = 5, .stride = 3}, train});
  const std::string features = conv(net, part, "conv", part + "/ave_pool", {.kernel = 1, .num_output = 128}, train);
  const InnerProductOptions hidden{.num_output = 1024}, scores{.num_output = classes};
  net.add(InnerProductLayer{part + "/fc", {features}, learned(hidden, 0.2), train})
      .add(ReLULayer{part + "/relu_fc", {part + "/fc"}, {}, train})
      .add(DropoutLayer{part + "/drop_fc", {part + "/relu_fc"}, {.ratio = 0.7}, train})
      .add(InnerProductLayer{part + "/classifier", {part + "/drop_fc"}, learned(scores, 0), train})
      .add(SoftmaxWithLoss{part + "/loss", {part + "/classifier", "label"}, {.loss_weight = 0.3}, train});
}

}  // namespace

NetParam googlenet(Dim batch, Dim classes) {
  const PoolingOptions halve{.pooling = Pooling::Max, .kernel = 3, .stride = 2};
  const LRNOptions norm{.local_size = 5, .alpha = 0.0001, .beta = 0.75};
  NetParam net("GoogleNet", RDDLayer{"data", {batch, 3, 224, 224}}, RDDLayer{"label", {batch, 1}});

  std::string top = conv(net, "conv1", "7x7_s2", "data", {.kernel = 7, .num_output = 64, .stride = 2, .pad = 3});
  net.add(PoolingLayer{"pool1/3x3_s2", {top}, halve}).add(LRNLayer{"pool1/norm1", {"pool1/3x3_s2"}, norm});
  top = conv(net, "conv2", "3x3_reduce", "pool1/norm1", {.kernel = 1, .num_output = 64});
  top = conv(net, "conv2", "3x3", top, {.kernel = 3, .num_output = 192, .pad = 1});
  net.add(LRNLayer{"conv2/norm2", {top}, norm}).add(PoolingLayer{"pool2/3x3_s2", {"conv2/norm2"}, halve});

  top = inception(net, "pool2/3x3_s2", {"3a", 64, 96, 128, 16, 32, 32});
  top = inception(net, top, {"3b", 128, 128, 192, 32, 96, 64});
  net.add(PoolingLayer{"pool3/3x3_s2", {top}, halve});
  top = inception(net, "pool3/3x3_s2", {"4a", 192, 96, 208, 16, 48, 64});
  side_loss(net, "loss1", top, classes);
  top = inception(net, top, {"4b", 160, 112, 224, 24, 64, 64});
  top = inception(net, top, {"4c", 128, 128, 256, 24, 64, 64});
  top = inception(net, top, {"4d", 112, 144, 288, 32, 64, 64});
  side_loss(net, "loss2", top, classes);
  top = inception(net, top, {"4e", 256, 160, 320, 32, 128, 128});
  net.add(PoolingLayer{"pool4/3x3_s2", {top}, halve});
  top = inception(net, "pool4/3x3_s2", {"5a", 256, 160, 320, 32, 128, 128});
  top = inception(net, top, {"5b", 384, 192, 384, 48, 128, 128});

  const InnerProductOptions scores{.num_output = classes};
  return net.add(PoolingLayer{"pool5/7x7_s1", {top}, {.pooling = Pooling::Ave, .kernel = 7, .stride = 1}})
      .add(DropoutLayer{"pool5/drop_7x7_s1", {"pool5/7x7_s1"}, {.ratio = 0.4}})
      .add(InnerProductLayer{"loss3/classifier", {"pool5/drop_7x7_s1"}, learned(scores, 0)})
      .add(SoftmaxWithLoss{"loss3/loss3", {"loss3/classifier", "label"}})
      .add(AccuracyLayer{"loss3/top-1", {"loss3/classifier", "label"}, {}, Include::Test})
      .add(AccuracyLayer{
          "loss3/top-5",
          {"loss3/classifier", "label"},
          {.top_k = std::min<Dim>(5, classes)},
          Include::Test});
}

}  // namespace example
