#include "examples/models/models.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "sparknet/sparknet.h"

using namespace sparknet;
using namespace example;

namespace {

void check_shapes(
    const NetParam& param, const std::vector<std::pair<std::string, Shape>>& published, Phase phase = Phase::Train) {
  const std::vector<InferredLayer> layers = infer_shapes(param, phase);
  for (const auto& known : published) {
    const std::string& blob = known.first;
    CAPTURE(blob);
    bool found = false;
    for (const InferredLayer& layer : layers)
      for (std::size_t i = 0; i < layer.tops.size(); ++i)
        if (layer.tops[i] == blob) {
          CHECK(layer.top_shapes[i] == known.second);
          found = true;
        }
    CHECK(found);
  }
}

/// The numbers that a solver learns, so not the statistics of a BatchNorm.
Dim learned(const Net& net) {
  Dim count = 0;
  for (const ParamInfo& param : net.params())
    if (param.lr_mult != 0) count += param.shape.count();
  return count;
}

Dim count_of(const Net& net, const std::string& full_name) {
  for (const ParamInfo& param : net.params())
    if (param.full_name() == full_name) return param.shape.count();
  FAIL("no parameter ", full_name);
  return 0;
}

/// Normal numbers.
Tensor noise(const Shape& shape) {
  Tensor values(shape);
  Random random(5, 5);
  fill(Filler::gaussian(0, 1), values, random);
  return values;
}

/// One step: the loss is what a net that knows nothing has, and its gradient comes to all that learns.
void check_step(Net& net, double expected_loss) {
  const double loss = net.forward();
  CHECK(loss == doctest::Approx(expected_loss).epsilon(0.15));
  net.backward();
  const Tensor gradients = net.gradient_arena();
  for (const ParamInfo& param : net.params()) {
    if (param.lr_mult == 0) continue;
    CAPTURE(param.full_name());
    const auto gradient = gradients.span<float>().subspan(
        static_cast<std::size_t>(param.offset),
        static_cast<std::size_t>(param.shape.count()));
    CHECK(std::all_of(gradient.begin(), gradient.end(), [](float g) { return std::isfinite(g); }));
    CHECK(std::any_of(gradient.begin(), gradient.end(), [](float g) { return g != 0; }));
  }
}

/// Of a classifier at batch 1 with one loss, or at another batch and with more.
void check_classifier(Net& net, Dim batch = 1, double loss_weights = 1) {
  for (const InferredLayer& layer : infer_shapes(net.param(), Phase::Train))
    if (layer.param.name() == "data") net.set_input("data", noise(layer.top_shapes[0]));
  std::vector<float> labels;
  for (Dim i = 0; i < batch; ++i) labels.push_back(static_cast<float>(7 + 100 * i));
  net.set_input("label", Tensor::from({batch, 1}, labels));
  check_step(net, loss_weights * std::log(1000));
}

}  // namespace

TEST_CASE("published nets: shapes of CaffeNet") {
  check_shapes(
      caffenet(10),
      {{"conv1", {10, 96, 55, 55}},
       {"norm1", {10, 96, 27, 27}},
       {"conv2", {10, 256, 27, 27}},
       {"norm2", {10, 256, 13, 13}},
       {"conv3", {10, 384, 13, 13}},
       {"conv4", {10, 384, 13, 13}},
       {"conv5", {10, 256, 13, 13}},
       {"pool5", {10, 256, 6, 6}},
       {"fc6", {10, 4096}},
       {"fc7", {10, 4096}},
       {"fc8", {10, 1000}}});
  check_shapes(caffenet(3, 20), {{"fc8", {3, 20}}, {"accuracy", {1}}}, Phase::Test);
}

TEST_CASE("published nets: shapes of AlexNet, whose normalisations are before the pooling") {
  check_shapes(
      alexnet(10),
      {{"norm1", {10, 96, 55, 55}},
       {"pool1", {10, 96, 27, 27}},
       {"norm2", {10, 256, 27, 27}},
       {"pool2", {10, 256, 13, 13}},
       {"pool5", {10, 256, 6, 6}},
       {"fc8", {10, 1000}}});
  CHECK(infer_shapes(alexnet(1), Phase::Test).size() == infer_shapes(caffenet(1), Phase::Test).size());
}

// Table 1 of the paper.
TEST_CASE("published nets: shapes of GoogLeNet") {
  check_shapes(
      googlenet(2),
      {{"conv1/7x7_s2", {2, 64, 112, 112}},
       {"pool1/3x3_s2", {2, 64, 56, 56}},
       {"conv2/3x3", {2, 192, 56, 56}},
       {"pool2/3x3_s2", {2, 192, 28, 28}},
       {"inception_3a/output", {2, 256, 28, 28}},
       {"inception_3b/output", {2, 480, 28, 28}},
       {"pool3/3x3_s2", {2, 480, 14, 14}},
       {"inception_4a/output", {2, 512, 14, 14}},
       {"inception_4b/output", {2, 512, 14, 14}},
       {"inception_4c/output", {2, 512, 14, 14}},
       {"inception_4d/output", {2, 528, 14, 14}},
       {"inception_4e/output", {2, 832, 14, 14}},
       {"pool4/3x3_s2", {2, 832, 7, 7}},
       {"inception_5a/output", {2, 832, 7, 7}},
       {"inception_5b/output", {2, 1024, 7, 7}},
       {"pool5/7x7_s1", {2, 1024, 1, 1}},
       {"loss3/classifier", {2, 1000}},
       {"loss1/ave_pool", {2, 512, 4, 4}},
       {"loss1/conv", {2, 128, 4, 4}},
       {"loss1/fc", {2, 1024}},
       {"loss2/ave_pool", {2, 528, 4, 4}},
       {"loss2/classifier", {2, 1000}}});
  check_shapes(googlenet(2, 3), {{"loss3/classifier", {2, 3}}, {"loss3/top-5", {1}}}, Phase::Test);
  for (const InferredLayer& layer : infer_shapes(googlenet(2), Phase::Test))
    CHECK_FALSE(layer.param.name().starts_with("loss1"));
}

TEST_CASE("published nets: shapes of VGG-16") {
  check_shapes(
      vgg16(2),
      {{"conv1_2", {2, 64, 224, 224}},
       {"pool1", {2, 64, 112, 112}},
       {"conv2_2", {2, 128, 112, 112}},
       {"conv3_3", {2, 256, 56, 56}},
       {"conv4_3", {2, 512, 28, 28}},
       {"conv5_3", {2, 512, 14, 14}},
       {"pool5", {2, 512, 7, 7}},
       {"fc6", {2, 4096}},
       {"fc7", {2, 4096}},
       {"fc8", {2, 1000}}});
  check_shapes(vgg16(2, 10, 32), {{"pool5", {2, 512, 1, 1}}, {"fc8", {2, 10}}}, Phase::Test);
}

// Table 1 of the paper.
TEST_CASE("published nets: shapes of ResNet-50") {
  check_shapes(
      resnet50(2),
      {{"conv1", {2, 64, 112, 112}},
       {"pool1", {2, 64, 56, 56}},
       {"res2a_branch1", {2, 256, 56, 56}},
       {"res2c", {2, 256, 56, 56}},
       {"res3a_branch2a", {2, 128, 28, 28}},
       {"res3d", {2, 512, 28, 28}},
       {"res4f_branch2b", {2, 256, 14, 14}},
       {"res4f", {2, 1024, 14, 14}},
       {"res5c", {2, 2048, 7, 7}},
       {"pool5", {2, 2048, 1, 1}},
       {"fc1000", {2, 1000}}});
  const std::vector<InferredLayer> layers = infer_shapes(resnet50(2, 10), Phase::Test);
  const auto count = [&](std::string_view type) {
    return std::count_if(layers.begin(), layers.end(), [&](const auto& layer) { return layer.param.type() == type; });
  };
  CHECK(count("ConvolutionLayer") + count("InnerProductLayer") == 50 + 4);  // 4 of them on the way around
  CHECK(count("BatchNormLayer") == 53);
  CHECK(count("EltwiseLayer") == 16);
}

TEST_CASE("published nets: shapes of SqueezeNet") {
  check_shapes(
      squeezenet(2),
      {{"conv1", {2, 64, 113, 113}},
       {"pool1", {2, 64, 56, 56}},
       {"fire2/squeeze1x1", {2, 16, 56, 56}},
       {"fire2/concat", {2, 128, 56, 56}},
       {"pool3", {2, 128, 28, 28}},
       {"fire5/concat", {2, 256, 28, 28}},
       {"pool5", {2, 256, 14, 14}},
       {"fire6/squeeze1x1", {2, 48, 14, 14}},
       {"fire7/concat", {2, 384, 14, 14}},
       {"fire9/expand3x3", {2, 256, 14, 14}},
       {"fire9/concat", {2, 512, 14, 14}},
       {"conv10", {2, 1000, 14, 14}},
       {"pool10", {2, 1000, 1, 1}}});
  check_shapes(squeezenet(2, 4), {{"pool10", {2, 4, 1, 1}}, {"accuracy_top5", {1}}}, Phase::Test);
}

TEST_CASE("published nets: shapes of the captioner") {
  check_shapes(
      captioner(16, 8801, 20, 4096),
      {{"embedding", {20, 16, 1000}},
       {"lstm1", {20, 16, 1000}},
       {"lstm2", {20, 16, 1000}},
       {"predict", {20, 16, 8801}},
       {"cross_entropy_loss", {1}}});
  check_shapes(captioner(2, 50), {{"predict", {20, 2, 50}}, {"accuracy", {1}}}, Phase::Test);
}

TEST_CASE("published nets: SqueezeNet has its parameters and learns") {
  Net net(squeezenet(1));
  CHECK(learned(net) == 1'235'496);
  check_classifier(net);
}

TEST_CASE("published nets: cifar10_quick has its parameters") {
  CHECK(learned(Net(cifar10_quick(1))) == 145'578);
}

TEST_SUITE("slow") {
  TEST_CASE("published nets: CaffeNet has its parameters and learns") {
    Net net(caffenet(1));
    CHECK(learned(net) == 60'965'224);
    check_classifier(net);
  }

  TEST_CASE("published nets: GoogLeNet has its parameters and learns") {
    CHECK(learned(Net(googlenet(1), {.phase = Phase::Test})) == 6'998'552);
    Net net(googlenet(1));
    CHECK(learned(net) == 13'378'280);
    check_classifier(net, 1, 1 + 0.3 + 0.3);
  }

  TEST_CASE("published nets: VGG-16 has its parameters and learns") {
    Net net(vgg16(1));
    CHECK(learned(net) == 138'357'544);
    check_classifier(net);
  }

  TEST_CASE("published nets: ResNet-50 has its parameters and learns") {
    Net net(resnet50(2));
    CHECK(learned(net) - count_of(net, "conv1.bias") == 25'557'032);
    Dim statistics = 0;
    for (const ParamInfo& param : net.params())
      if (param.layer.starts_with("bn")) statistics += param.shape.count();
    CHECK(statistics == 2 * 26'560 + 53);  // a mean and a variance of each channel, and a factor of each layer
    check_classifier(net, 2);
  }

  TEST_CASE("published nets: the captioner has its parameters and learns") {
    const Dim words = 8801, steps = 4, batch = 2;
    Net net(captioner(batch, words, steps));
    CHECK(count_of(net, "embedding.weights") == words * 1000);
    CHECK(count_of(net, "lstm1.W_xc") == 4000 * 1000);
    CHECK(count_of(net, "lstm2.W_xc_static") == 4000 * 1000);
    CHECK(learned(net) == words * 1000 + (2 * 8'004'000 + 4'000'000) + words * 1001);
    CHECK(learned(net) == 37'618'801);

    net.set_input("image_features", noise({batch, 1000}));
    net.set_input("input_sentence", Tensor::from<float>({steps, batch}, {0, 0, 5, 8800, 17, 3, 4, 0}));
    net.set_input("cont_sentence", Tensor::from<float>({steps, batch}, {0, 0, 1, 1, 1, 1, 1, 0}));
    net.set_input("target_sentence", Tensor::from<float>({steps, batch}, {5, 8800, 17, 3, 4, 0, 0, -1}));
    check_step(net, 20 * std::log(words));
  }
}
