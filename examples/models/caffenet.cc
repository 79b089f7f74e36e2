#include "models.h"
#include "sparknet/layers/accuracy.h"
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

/// What all layers with parameters have in common: biases learn twice as fast and do not decay.
template <class Options>
Options learned(Options options, double std, double bias) {
  options.weight_filler = Filler::gaussian(0, std);
  options.bias_filler = Filler::constant(bias);
  options.lr_mult = {1, 2};
  options.decay_mult = {1, 0};
  return options;
}

ConvolutionOptions conv(const ConvolutionOptions& options, double bias) {
  return learned(options, 0.01, bias);
}

InnerProductOptions fc(Dim num_output, double std, double bias) {
  return learned(InnerProductOptions{.num_output = num_output}, std, bias);
}

}  // namespace

// clang-format off
NetParam caffenet(Dim batch, Dim classes) {
  const PoolingOptions pool{.pooling = Pooling::Max, .kernel = 3, .stride = 2};
  const LRNOptions norm{.local_size = 5, .alpha = 0.0001, .beta = 0.75};
  return NetParam("CaffeNet",
      RDDLayer{"data", {batch, 3, 227, 227}},
      RDDLayer{"label", {batch, 1}},
      ConvolutionLayer{"conv1", {"data"}, conv({.kernel = 11, .num_output = 96, .stride = 4}, 0)},
      ReLULayer{"relu1", {"conv1"}},
      PoolingLayer{"pool1", {"relu1"}, pool},
      LRNLayer{"norm1", {"pool1"}, norm},
      ConvolutionLayer{"conv2", {"norm1"}, conv({.kernel = 5, .num_output = 256, .pad = 2, .group = 2}, 1)},
      ReLULayer{"relu2", {"conv2"}},
      PoolingLayer{"pool2", {"relu2"}, pool},
      LRNLayer{"norm2", {"pool2"}, norm},
      ConvolutionLayer{"conv3", {"norm2"}, conv({.kernel = 3, .num_output = 384, .pad = 1}, 0)},
      ReLULayer{"relu3", {"conv3"}},
      ConvolutionLayer{"conv4", {"relu3"}, conv({.kernel = 3, .num_output = 384, .pad = 1, .group = 2}, 1)},
      ReLULayer{"relu4", {"conv4"}},
      ConvolutionLayer{"conv5", {"relu4"}, conv({.kernel = 3, .num_output = 256, .pad = 1, .group = 2}, 1)},
      ReLULayer{"relu5", {"conv5"}},
      PoolingLayer{"pool5", {"relu5"}, pool},
      InnerProductLayer{"fc6", {"pool5"}, fc(4096, 0.005, 1)},
      ReLULayer{"relu6", {"fc6"}},
      DropoutLayer{"drop6", {"relu6"}},
      InnerProductLayer{"fc7", {"drop6"}, fc(4096, 0.005, 1)},
      ReLULayer{"relu7", {"fc7"}},
      DropoutLayer{"drop7", {"relu7"}},
      InnerProductLayer{"fc8", {"drop7"}, fc(classes, 0.01, 0)},
      AccuracyLayer{"accuracy", {"fc8", "label"}, {}, Include::Test},
      SoftmaxWithLoss{"loss", {"fc8", "label"}});
}

NetParam alexnet(Dim batch, Dim classes) {
  const PoolingOptions pool{.pooling = Pooling::Max, .kernel = 3, .stride = 2};
  const LRNOptions norm{.local_size = 5, .alpha = 0.0001, .beta = 0.75};
  return NetParam("AlexNet",
      RDDLayer{"data", {batch, 3, 227, 227}},
      RDDLayer{"label", {batch, 1}},
      ConvolutionLayer{"conv1", {"data"}, conv({.kernel = 11, .num_output = 96, .stride = 4}, 0)},
      ReLULayer{"relu1", {"conv1"}},
      LRNLayer{"norm1", {"relu1"}, norm},
      PoolingLayer{"pool1", {"norm1"}, pool},
      ConvolutionLayer{"conv2", {"pool1"}, conv({.kernel = 5, .num_output = 256, .pad = 2, .group = 2}, 0.1)},
      ReLULayer{"relu2", {"conv2"}},
      LRNLayer{"norm2", {"relu2"}, norm},
      PoolingLayer{"pool2", {"norm2"}, pool},
      ConvolutionLayer{"conv3", {"pool2"}, conv({.kernel = 3, .num_output = 384, .pad = 1}, 0)},
      ReLULayer{"relu3", {"conv3"}},
      ConvolutionLayer{"conv4", {"relu3"}, conv({.kernel = 3, .num_output = 384, .pad = 1, .group = 2}, 0.1)},
      ReLULayer{"relu4", {"conv4"}},
      ConvolutionLayer{"conv5", {"relu4"}, conv({.kernel = 3, .num_output = 256, .pad = 1, .group = 2}, 0.1)},
      ReLULayer{"relu5", {"conv5"}},
      PoolingLayer{"pool5", {"relu5"}, pool},
      InnerProductLayer{"fc6", {"pool5"}, fc(4096, 0.005, 0.1)},
      ReLULayer{"relu6", {"fc6"}},
      DropoutLayer{"drop6", {"relu6"}},
      InnerProductLayer{"fc7", {"drop6"}, fc(4096, 0.005, 0.1)},
      ReLULayer{"relu7", {"fc7"}},
      DropoutLayer{"drop7", {"relu7"}},
      InnerProductLayer{"fc8", {"drop7"}, fc(classes, 0.01, 0)},
      AccuracyLayer{"accuracy", {"fc8", "label"}, {}, Include::Test},
      SoftmaxWithLoss{"loss", {"fc8", "label"}});
}
// clang-format on

}  // namespace example
