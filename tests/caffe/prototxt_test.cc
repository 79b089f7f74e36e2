#include "sparknet/caffe/prototxt.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "sparknet/caffe/blob.h"
#include "sparknet/sparknet.h"
#include "src/caffe/catalog.h"
#include "tests/nets.h"
#include "tests/temp_dir.h"
#include "tests/test_data.h"

using namespace sparknet;
using namespace sparknet::caffe;

namespace {

/// What parse_net says of the text.
std::string trouble(const std::string& text) {
  try {
    parse_net(text, "net.prototxt");
  } catch (const DataError& error) {
    return error.what();
  }
  return "none";
}

/// The one layer of a net, whose text this is the inside of.
LayerParam layer_of(const std::string& inside) {
  return parse_net("layer { name: 'l' " + inside + " }").layers.at(0);
}

std::string layer_trouble(const std::string& inside) {
  return trouble("layer { name: 'l' " + inside + " }");
}

/// A type that Caffe has no name for.
struct OwnLayer {
  static constexpr std::string_view type = "OwnLayer";
  std::string name;
  Where where = Where::here();

  std::span<const std::string> inputs() const { return {}; }
  Shape infer(std::span<const Shape>) const { return {1}; }
  std::unique_ptr<Layer> make() const { return nullptr; }
  bool operator==(const OwnLayer&) const = default;
};

template <class L>
auto options_of(const std::string& inside) {
  const LayerParam layer = layer_of(inside);
  REQUIRE(layer.as<L>() != nullptr);
  return layer.as<L>()->options;
}

}  // namespace

TEST_CASE("a net of today's is read as it would be written in the DSL") {
  const NetParam net = parse_net(R"(
name: "LeNet"
layer {
  name: "mnist" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 64 dim: 1 dim: 28 dim: 28 } shape { dim: 64 } }
}
layer {
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 20 kernel_size: 5 engine: CUDNN weight_filler { type: "xavier" } }
}
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" relu_param { negative_slope: 0.1 } }
layer {
  name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: AVE kernel_h: 2 kernel_w: 3 stride: 2 }
}
layer {
  name: "ip" type: "InnerProduct" bottom: "pool1" top: "ip" param { name: "shared" lr_mult: 3 }
  inner_product_param { num_output: 10 }
}
layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc" include { phase: TEST } }
layer {
  name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" loss_weight: 0.3
  loss_param { ignore_label: 255 normalize: false } include { stage: "learn" }
}
)");
  const NetParam expected(
      "LeNet",
      with(InputLayer{"mnist", {.shape = {{64, 1, 28, 28}, {64}}}}, {.top = {"data", "label"}}),
      ConvolutionLayer{"conv1", {"data"}, {.kernel = 5, .num_output = 20, .lr_mult = {1, 2}, .decay_mult = {1, 0}}},
      with(ReLULayer{"relu1", {"conv1"}, {.negative_slope = 0.1}}, {.top = {"conv1"}}),
      PoolingLayer{"pool1", {"conv1"}, {.pooling = Pooling::Ave, .kernel = {2, 3}, .stride = 2}},
      with(
          InnerProductLayer{
              "ip",
              {"pool1"},
              {.num_output = 10, .weight_filler = Filler::constant(0), .lr_mult = {3, 1}}},
          {.param = {{"shared"}}}),
      AccuracyLayer{"acc", {"ip", "label"}, {}, Include::Test},
      with(
          SoftmaxWithLoss{
              "loss",
              {"ip", "label"},
              {.ignore_label = 255, .normalization = Normalization::BatchSize, .loss_weight = 0.3}},
          {.include = {{.stage = {"learn"}}}}));
  CHECK_MESSAGE(net == expected, to_string(net), "\nexpected\n", to_string(expected));
  CHECK(parse_net(to_prototxt(net)) == net);
  CHECK(std::strcmp(net.layers[2].where().file, "prototxt") == 0);
  CHECK(net.layers[2].where().line == 12);
}

TEST_CASE("a prototxt says what differs from Caffe's defaults, in Caffe's words") {
  CHECK(
      to_prototxt(NetParam(
          "n",
          RDDLayer{"data", {8, 3}},
          InnerProductLayer{"ip", {"data"}, {.num_output = 2, .bias = false, .lr_mult = {0.1, 1}}, Include::Train})) ==
      R"(name: "n"
layer {
  name: "data"
  type: "Input"
  top: "data"
  memory_data_param {
  }
  input_param {
    shape {
      dim: 8
      dim: 3
    }
  }
}
layer {
  name: "ip"
  type: "InnerProduct"
  bottom: "data"
  top: "ip"
  param {
    lr_mult: 0.1
  }
  include {
    phase: TRAIN
  }
  inner_product_param {
    num_output: 2
    bias_term: false
    weight_filler {
      type: "xavier"
    }
  }
}
)");
  CHECK(parse_net("force_backward: true").force_backward);
  CHECK(parse_net(to_prototxt(parse_net("force_backward: true"))).force_backward);
  // What Caffe's files cannot say is refused.
  CHECK_THROWS_WITH_AS(
      to_prototxt(NetParam("n", OwnLayer{"own"})),
      "net \"n\", layer \"own\" (OwnLayer): Caffe's files have no name for its type",
      Error);
  CHECK_THROWS_WITH_AS(
      to_prototxt(NetParam("n", PowerLayer{"p", {"x"}, {.scale = 1e300}})),
      "net \"n\", layer \"p\" (PowerLayer): option .scale is 1e+300, which is beyond the float that Caffe's files have "
      "for it",
      Error);
  CHECK_THROWS_WITH_AS(
      to_prototxt(NetParam("n", InnerProductLayer{"ip", {"x"}, {.num_output = -1}})),
      "net \"n\", layer \"ip\" (InnerProductLayer): option .num_output is -1, which Caffe's uint32 cannot be",
      Error);
}

TEST_CASE("nets of all ages are read, with their lines") {
  const NetParam net = parse_net(R"(input: "x" input_dim: 2 input_dim: 3 input_dim: 4 input_dim: 5
layers { name: "ip" type: INNER_PRODUCT bottom: "x" top: "ip" blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
  inner_product_param { num_output: 7 } }
layers { name: "relu" type: RELU bottom: "ip" top: "ip" }
)");
  REQUIRE(net.layers.size() == 3);
  CHECK(net.layers[0] == with(InputLayer{"input", {.shape = {{2, 3, 4, 5}}}}, {.top = {"x"}}));
  CHECK(
      net.layers[1] ==
      InnerProductLayer{
          "ip",
          {"x"},
          {.num_output = 7, .weight_filler = Filler::constant(0), .lr_mult = {1, 2}, .decay_mult = {1, 0}}});
  CHECK(net.layers[0].where().line == 0);
  CHECK(net.layers[1].where().line == 2);
  CHECK(net.layers[2].where().line == 4);
}

TEST_CASE("old names of options are read") {
  CHECK(options_of<ConcatLayer>("type: 'Concat' concat_param { concat_dim: 2 }").axis == 2);
  CHECK(
      layer_trouble("type: 'Concat' concat_param { concat_dim: 2 axis: 1 }") ==
      "net.prototxt:1: layer \"l\" (Concat): concat_dim is the old name of axis, and both are given");
  const auto dummy = options_of<DummyDataLayer>(
      "type: 'DummyData' dummy_data_param { num: 2 num: 3 channels: 4 height: 5 height: 6 width: 7 }");
  CHECK(dummy.shape == std::vector<Shape>{{2, 4, 5, 7}, {3, 4, 6, 7}});
  CHECK(
      layer_trouble("type: 'DummyData' dummy_data_param { num: 2 num: 3 channels: 4 height: 5 }") ==
      "net.prototxt:1: layer \"l\" (DummyData): width has 0 values where others have 2");
}

TEST_CASE("sizes are read in all of Caffe's ways") {
  const auto conv = [](const std::string& options) {
    return options_of<ConvolutionLayer>("type: 'Convolution' convolution_param { " + options + " }");
  };
  CHECK(conv("kernel_size: 3").kernel == Size2(3));
  CHECK(conv("kernel_size: 3 kernel_size: 4").kernel == Size2(3, 4));
  CHECK(conv("kernel_h: 3 kernel_w: 4").kernel == Size2(3, 4));
  CHECK(conv("pad_h: 3").pad == Size2(3, 0));
  CHECK(conv("").stride == Size2(1));
  CHECK(conv("dilation: 2 dilation: 5").dilation == Size2(2, 5));
  const auto why = [](const std::string& options) {
    return layer_trouble("type: 'Convolution' convolution_param { " + options + " }");
  };
  const std::string layer = "net.prototxt:1: layer \"l\" (Convolution): ";
  CHECK(why("kernel_size: 3 kernel_h: 3") == layer + "kernel_size is given, and kernel_h or kernel_w too");
  CHECK(why("stride_h: 3") == layer + "of stride_h and stride_w only one is given");
}

TEST_CASE("convolutions over other axes than an image's are of another type") {
  const auto nd = options_of<ConvolutionNdLayer>(
      "type: 'Convolution' convolution_param { kernel_size: 3 pad: 1 pad: 2 pad: 3 num_output: 4 }");
  CHECK(
      nd ==
      ConvolutionNdOptions{.kernel = {3}, .num_output = 4, .pad = {1, 2, 3}, .weight_filler = Filler::constant(0)});
  CHECK(options_of<ConvolutionNdLayer>("type: 'Convolution' convolution_param { axis: 2 }").axis == 2);
  CHECK(
      options_of<DeconvolutionNdLayer>("type: 'Deconvolution' convolution_param { force_nd_im2col: true }").axis == 1);
  CHECK(
      options_of<Im2colLayer>("type: 'Im2col' convolution_param { kernel_h: 3 kernel_w: 4 }").kernel ==
      std::vector<Dim>{3, 4});
}

TEST_CASE("the matrix of an InfogainLoss is read with the net") {
  const TempDir dir;
  const std::string file = (dir / "H.binaryproto").string();
  const auto of_file = "type: 'InfogainLoss' infogain_loss_param { source: '" + file + "' }";
  write_blob(file, Tensor::from({1, 1, 2, 2}, {1.F, 0.5F, 0.F, 0.1F}));
  const InfogainLossOptions options = options_of<InfogainLoss>(of_file);
  CHECK(options.infogain == std::vector<std::vector<double>>{{1, 0.5}, {0, 0.1}});
  const NetParam net("n", InfogainLoss{"loss", {"x", "label"}, options});
  CHECK(parse_net(to_prototxt(net)) == net);
  write_blob(file, Tensor::from({3}, {1.F, 0.F, 0.F}));
  CHECK(layer_trouble(of_file).find("H.binaryproto has 3 numbers, and no square matrix has") != std::string::npos);
}

TEST_CASE("a convolution of several bottoms is one for each, with the same parameters") {
  const std::string text = R"(
    name: "twins"
    layer { name: "data" type: "Input" top: "a" top: "b"
            input_param { shape { dim: 2 dim: 3 dim: 5 dim: 5 } shape { dim: 2 dim: 3 dim: 5 dim: 5 } } }
    layer { name: "conv" type: "Convolution" bottom: "a" bottom: "b" top: "left" top: "right"
            param { lr_mult: 1 } param { name: "shift" lr_mult: 2 } loss_weight: 0 loss_weight: 3
            convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } })";
  const NetParam param = parse_net(text, "twins.prototxt");
  REQUIRE(param.layers.size() == 3);
  CHECK(param.layers[1].name() == "conv");
  CHECK(param.layers[2].name() == "conv of right");
  CHECK(param.layers[2].where().line == 5);
  CHECK(parse_net(to_prototxt(param)) == param);

  Net net(param);
  CHECK(net.params().size() == 2);
  Tensor images({2, 3, 5, 5});
  Random random(1);
  fill(Filler::gaussian(0, 1), images, random);
  net.set_input("a", images);
  net.set_input("b", images);
  const double loss = net.forward();
  CHECK(net.blob("left") == net.blob("right"));
  double sum = 0;
  const Tensor right = net.blob("right").copy();
  for (const float value : right.span<const float>()) sum += static_cast<double>(value);
  CHECK(loss == doctest::Approx(3 * sum).epsilon(1e-5));
}

TEST_CASE("what a layer cannot do is refused, and what makes no difference is not") {
  const std::string layer = "net.prototxt:1: layer \"l\" ";
  CHECK(
      layer_trouble("type: 'InfogainLoss' infogain_loss_param { source: 'no H' }") ==
      layer + "(InfogainLoss): infogain_loss_param.source: no H: there is no such file");
  CHECK(
      layer_trouble("type: 'InfogainLoss' infogain_loss_param { source: 'H' infogain { value: 1 } }") ==
      layer + "(InfogainLoss): infogain_loss_param has both source and infogain, which are the same matrix");
  CHECK(layer_trouble("type: 'Convolution' convolution_param { axis: 1 engine: CAFFE }") == "none");
  CHECK(
      layer_trouble("type: 'InnerProduct' inner_product_param { weight_filler { type: 'xaver' } }") ==
      layer + "(InnerProduct): there is no filler \"xaver\"; did you mean \"xavier\"?");
  CHECK(layer_trouble("type: 'Input' bottom: 'x'") == layer + "(Input): reads 1 bottoms, and its type reads none");
  CHECK(layer_trouble("type: 'Relu'") == layer + "(Relu): there is no layer of type \"Relu\"; did you mean \"ReLU\"?");
  CHECK(
      layer_trouble("type: 'Filter' bottom: 'x' bottom: 'selector'") ==
      layer +
          "(Filter): Caffe's Filter gives its tops another number of rows in each pass, and here a top has one shape: "
          "the rows that are not kept are padded. Say with what, a number for each bottom but the selector, as "
          "filter_param { pad: 0 pad: -1 }; for labels that is the ignore_label of the loss");
  CHECK(layer_trouble("type: 'Filter' filter_param {}") == "none");
  CHECK(options_of<FilterLayer>("type: 'Filter' filter_param { pad: 0 pad: -1 }").pad == std::vector<double>{0, -1});
  CHECK(layer_trouble("") == "net.prototxt:1: layer \"l\": has no type");
  std::string dims;
  for (int i = 0; i < 13; ++i) dims += "dim: 1 ";
  CHECK(
      layer_trouble("type: 'Input' input_param { shape { " + dims + "} }") ==
      layer + "(Input): a shape has 13 dimensions, and at most 12 are possible");
}

TEST_CASE("mistakes are named with line and column") {
  CHECK(
      trouble("layer {\n  name: 'l'\n  convolution_param { kernal_size: 5 }\n}") ==
      "net.prototxt:3:34: ConvolutionParameter has no field \"kernal_size\"; did you mean \"kernel_size\"?");
  CHECK(
      trouble("layer {\n  pooling_param { pool: MAXX }\n}") ==
      "net.prototxt:2:30: pool cannot be MAXX; did you mean \"MAX\"?");
  CHECK(trouble("layer {") == "net.prototxt:1:8: Expected identifier, got: ");
  CHECK(
      trouble("name: 'a' name: 'b'") == "net.prototxt:1:15: Non-repeated field \"name\" is specified multiple times.");
  CHECK(trouble("layer { name: 'l' type: 'ReLU' } layers { }").starts_with("net.prototxt: "));
  try {
    parse_net("name: 1", "file");
    CHECK(false);
  } catch (const PrototxtError& error) {
    CHECK(error.file() == "file");
    CHECK(error.line() == 1);
    CHECK(error.column() == 7);
  }
  // A wrong number of inputs is the net's to say, with the prototxt's line.
  const NetParam net = parse_net(
      "layer { name: 'l' type: 'Input' top: 'x' input_param { shape { dim: 1 } } }\n"
      "layer { name: 'loss'\n type: 'SoftmaxWithLoss' bottom: 'x' }",
      "net.prototxt");
  CHECK_THROWS_WITH_AS(
      summary(net),
      doctest::Contains("layer \"loss\" (SoftmaxWithLoss): takes 2 inputs, not 1\n  at net.prototxt:2"),
      NetError);
}

TEST_CASE("multipliers go to the options, and what they cannot say to the extras") {
  const std::string lstm = "type: 'LSTM' bottom: 'x' bottom: 'c' top: 'l' recurrent_param { num_output: 3 } ";
  const auto read = [&](const std::string& params) { return layer_of(lstm + params); };
  const LayerParam alike = read("param { lr_mult: 2 } param { lr_mult: 3 } param { lr_mult: 2 }");
  CHECK(alike.as<LSTMLayer>()->options.lr_mult == Multipliers{2, 3});
  CHECK(alike.extras() == LayerExtras());
  const LayerParam other = read("param { lr_mult: 2 } param { lr_mult: 3 } param { lr_mult: 5 name: 'h' }");
  CHECK(other.as<LSTMLayer>()->options.lr_mult == Multipliers{2, 3});
  CHECK(other.extras() == LayerExtras{.param = {{}, {}, {"h", ShareMode::Strict, 5.}}});
  CHECK(parse_net(to_prototxt(NetParam("n", other))) == NetParam("n", other));
  // One that is not given is 1.
  CHECK(read("param { lr_mult: 2 }").extras() == LayerExtras{.param = {{}, {}, {"", ShareMode::Strict, 1.}}});
}

TEST_CASE("loss weights go to the option where it can say them") {
  const std::string loss = "type: 'SoftmaxWithLoss' bottom: 'x' bottom: 'y' ";
  const LayerParam both = layer_of(loss + "top: 'a' top: 'b' loss_weight: 0.5 loss_weight: 0");
  CHECK(both.as<SoftmaxWithLoss>()->options.loss_weight == 0.5);
  CHECK(both.extras() == LayerExtras{.top = {"a", "b"}});
  CHECK(parse_net(to_prototxt(NetParam("n", both))) == NetParam("n", both));
  const LayerParam second = layer_of(loss + "top: 'a' top: 'b' loss_weight: 0.5 loss_weight: 2");
  CHECK(second.as<SoftmaxWithLoss>()->options.loss_weight == 1);
  CHECK(second.extras() == LayerExtras{.top = {"a", "b"}, .loss_weight = {0.5, 2}});
  CHECK(layer_of("type: 'ReLU' bottom: 'x' loss_weight: 3").extras() == LayerExtras{.loss_weight = {3}});
}

TEST_CASE("a net is written to a file and read from it") {
  const TempDir dir;
  const NetParam net = parse_net("name: 'n' layer { name: 'x' type: 'Input' input_param { shape { dim: 1 } } }");
  write_net(net, dir / "net.prototxt");
  CHECK(read_net(dir / "net.prototxt") == net);
  CHECK_THROWS_AS(read_net(dir / "none"), DataError);
}

TEST_CASE("a layer's file name outlives the text it came from") {
  LayerParam layer = [] {
    std::string name = "a name that is long enough to lie on the heap.prototxt";
    return parse_net("layer { type: 'ReLU' bottom: 'x' name: 'l' }", name).layers[0];
  }();
  CHECK(std::string(layer.where().file) == "a name that is long enough to lie on the heap.prototxt");
}

TEST_SUITE("data") {
  TEST_CASE("Caffe's own nets are read, come back as they were, and run") {
    const auto dir = test_data("caffe_examples");
    if (!dir) return;
    int read = 0, built = 0;
    for (const char* folder : {"caffe_examples", "lenet_v2"}) {
      const auto there = test_data(folder);
      if (!there) return;
      for (const auto& entry : std::filesystem::directory_iterator(*there)) {
        const std::string name = entry.path().filename().string();
        if (entry.path().extension() != ".prototxt" || name.find("solver") != std::string::npos) continue;
        CAPTURE(name);
        const bool has_data = name.find("train") != std::string::npos || name.find("autoencoder") != std::string::npos;
        if (has_data && caffes_type("DataLayer").empty()) {
          CHECK_THROWS_WITH_AS(
              read_net(entry.path()),
              doctest::Contains("there is no layer of type \"Data\""),
              PrototxtError);
          ++read;
          continue;
        }
        const NetParam net = read_net(entry.path());
        const std::string text = to_prototxt(net);
        const NetParam again = parse_net(text);
        CHECK_MESSAGE(again == net, to_string(again), "\nexpected\n", to_string(net));
        CHECK(to_prototxt(again) == text);
        ++read;
        if (has_data) continue;  // its databases are not there
        Net running(net, {.phase = Phase::Test});
        CHECK(running.outputs().back() == "prob");
        ++built;
      }
    }
    CHECK(read == 8);
    CHECK(built == 3);
  }

  TEST_CASE("Caffe's own LeNet to deploy is the one of the DSL") {
    const auto dir = test_data("caffe_examples");
    if (!dir) return;
    NetParam expected(
        "LeNet",
        with(InputLayer{"input", {.shape = {{64, 1, 28, 28}}}}, {.top = {"data"}}),
        ConvolutionLayer{"conv1", {"data"}, {.kernel = 5, .num_output = 20, .lr_mult = {1, 2}}},
        PoolingLayer{"pool1", {"conv1"}, {.kernel = 2, .stride = 2}},
        ConvolutionLayer{"conv2", {"pool1"}, {.kernel = 5, .num_output = 50, .lr_mult = {1, 2}}},
        PoolingLayer{"pool2", {"conv2"}, {.kernel = 2, .stride = 2}},
        InnerProductLayer{"ip1", {"pool2"}, {.num_output = 500, .lr_mult = {1, 2}}},
        with(ReLULayer{"relu1", {"ip1"}}, {.top = {"ip1"}}),
        InnerProductLayer{"ip2", {"ip1"}, {.num_output = 10, .lr_mult = {1, 2}}},
        SoftmaxLayer{"prob", {"ip2"}});
    const NetParam net = read_net(*dir / "lenet.prototxt");
    CHECK_MESSAGE(net == expected, to_string(net), "\nexpected\n", to_string(expected));
    CHECK(net.layers[1].where().line > 0);
  }
}
