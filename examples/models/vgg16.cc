#include "models.h"
#include "sparknet/layers/accuracy.h"
#include "sparknet/layers/convolution.h"
#include "sparknet/layers/dropout.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/pooling.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/relu.h"
#include "sparknet/layers/softmax_with_loss.h"

namespace example {

using namespace sparknet;

NetParam vgg16(Dim batch, Dim classes, Dim side) {
  struct Stage {
    int convolutions;
    Dim channels;
  };
  const Stage stages[] = {{2, 64}, {2, 128}, {3, 256}, {3, 512}, {3, 512}};

  NetParam net("VGG_ILSVRC_16_layers", RDDLayer{"data", {batch, 3, side, side}}, RDDLayer{"label", {batch, 1}});
  std::string top = "data";
  int number = 0;
  for (const Stage& stage : stages) {
    const std::string stage_number = std::to_string(++number);
    for (int i = 1; i <= stage.convolutions; ++i) {
      const std::string suffix = stage_number + "_" + std::to_string(i);
      net.add(ConvolutionLayer{"conv" + suffix, {top}, {.kernel = 3, .num_output = stage.channels, .pad = 1}});
      net.add(ReLULayer{"relu" + suffix, {"conv" + suffix}});
      top = "relu" + suffix;
    }
    net.add(PoolingLayer{"pool" + stage_number, {top}, {.pooling = Pooling::Max, .kernel = 2, .stride = 2}});
    top = "pool" + stage_number;
  }
  for (const std::string n : {"6", "7"}) {
    net.add(InnerProductLayer{"fc" + n, {top}, {.num_output = 4096}})
        .add(ReLULayer{"relu" + n, {"fc" + n}})
        .add(DropoutLayer{"drop" + n, {"relu" + n}});
    top = "drop" + n;
  }
  return net.add(InnerProductLayer{"fc8", {top}, {.num_output = classes}})
      .add(AccuracyLayer{"accuracy", {"fc8", "label"}, {}, Include::Test})
      .add(SoftmaxWithLoss{"loss", {"fc8", "label"}});
}

}  // namespace example
