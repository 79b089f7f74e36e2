#include "lenet.h"

#include "sparknet/layers/accuracy.h"
#include "sparknet/layers/convolution.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/pooling.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/relu.h"
#include "sparknet/layers/softmax_with_loss.h"

namespace example {

using namespace sparknet;

// clang-format off
NetParam lenet(Dim batch, Dim test_batch) {
  return NetParam("LeNet",
      RDDLayer{"data", {batch, 1, 28, 28}, Include::Train},
      RDDLayer{"label", {batch, 1}, Include::Train},
      RDDLayer{"data", {test_batch, 1, 28, 28}, Include::Test},
      RDDLayer{"label", {test_batch, 1}, Include::Test},
      ConvolutionLayer{"conv1", {"data"}, {.kernel = {5, 5}, .num_output = 20}},
      PoolingLayer{"pool1", {"conv1"}, {.pooling = Pooling::Max, .kernel = {2, 2}, .stride = {2, 2}}},
      ConvolutionLayer{"conv2", {"pool1"}, {.kernel = {5, 5}, .num_output = 50}},
      PoolingLayer{"pool2", {"conv2"}, {.pooling = Pooling::Max, .kernel = {2, 2}, .stride = {2, 2}}},
      InnerProductLayer{"ip1", {"pool2"}, {.num_output = 500}},
      ReLULayer{"relu1", {"ip1"}},
      InnerProductLayer{"ip2", {"relu1"}, {.num_output = 10}},
      AccuracyLayer{"accuracy", {"ip2", "label"}, {}, Include::Test},
      SoftmaxWithLoss{"loss", {"ip2", "label"}});
}
// clang-format on

SolverParam lenet_solver() {
  return {
      .base_lr = 0.01,
      .lr_policy = lr_policy::Inv{.gamma = 0.0001, .power = 0.75},
      .momentum = 0.9,
      .weight_decay = 0.0005,
      .max_iter = 10000,
      .test_interval = 500,
      .test_iter = 100,
  };
}

}  // namespace example
