#include "models.h"
#include "sparknet/layers/accuracy.h"
#include "sparknet/layers/convolution.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/pooling.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/relu.h"
#include "sparknet/layers/softmax_with_loss.h"

namespace example {

using namespace sparknet;

namespace {

ConvolutionOptions conv(Dim num_output, double std) {
  return {
      .kernel = 5,
      .num_output = num_output,
      .pad = 2,
      .weight_filler = Filler::gaussian(0, std),
      .bias_filler = Filler::constant(0),
      .lr_mult = {1, 2}};
}

InnerProductOptions fc(Dim num_output) {
  return {
      .num_output = num_output,
      .weight_filler = Filler::gaussian(0, 0.1),
      .bias_filler = Filler::constant(0),
      .lr_mult = {1, 2}};
}

}  // namespace

// clang-format off
NetParam cifar10_quick(Dim batch) {
  return NetParam("CIFAR10_quick",
      RDDLayer{"data", {batch, 3, 32, 32}},
      RDDLayer{"label", {batch, 1}},
      ConvolutionLayer{"conv1", {"data"}, conv(32, 0.0001)},
      PoolingLayer{"pool1", {"conv1"}, {.kernel = 3, .stride = 2}},
      ReLULayer{"relu1", {"pool1"}},
      ConvolutionLayer{"conv2", {"relu1"}, conv(32, 0.01)},
      ReLULayer{"relu2", {"conv2"}},
      PoolingLayer{"pool2", {"relu2"}, {.pooling = Pooling::Ave, .kernel = 3, .stride = 2}},
      ConvolutionLayer{"conv3", {"pool2"}, conv(64, 0.01)},
      ReLULayer{"relu3", {"conv3"}},
      PoolingLayer{"pool3", {"relu3"}, {.pooling = Pooling::Ave, .kernel = 3, .stride = 2}},
      InnerProductLayer{"ip1", {"pool3"}, fc(64)},
      InnerProductLayer{"ip2", {"ip1"}, fc(10)},
      AccuracyLayer{"accuracy", {"ip2", "label"}, {}, Include::Test},
      SoftmaxWithLoss{"loss", {"ip2", "label"}});
}
// clang-format on

}  // namespace example
