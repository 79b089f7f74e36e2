// The full text of what a user sees for each mistake in a description, with the user's own line.
#include <doctest/doctest.h>

#include <string>

#include "sparknet/sparknet.h"

using namespace sparknet;

namespace {

/// LeNet with one layer replaced; every layer stands on a line of its own, counted from `first_line`.
constexpr int first_line = __LINE__ + 5;
NetParam lenet(Dim batchsize) {
  return NetParam(
      "LeNet",
      // clang-format off
      RDDLayer{"data", {batchsize, 1, 28, 28}},
      RDDLayer{"label", {batchsize, 1}},
      ConvolutionLayer{"conv1", {"data"}, {.kernel = {5, 5}, .num_output = 20}},
      PoolingLayer{"pool1", {"conv1"}, {.pooling = Pooling::Max, .kernel = {2, 2}, .stride = {2, 2}}},
      ConvolutionLayer{"conv2", {"pool1"}, {.kernel = {5, 5}, .num_output = 50}},
      PoolingLayer{"pool2", {"conv2"}, {.pooling = Pooling::Max, .kernel = {2, 2}, .stride = {2, 2}}},
      InnerProductLayer{"ip1", {"pool2"}, {.num_output = 500}},
      ReLULayer{"relu1", {"ip1"}},
      InnerProductLayer{"ip2", {"relu1"}, {.num_output = 10}},
      SoftmaxWithLoss{"loss", {"ip2", "label"}});
  // clang-format on
}

enum Position { Data, Label, Conv1, Pool1, Conv2, Pool2, Ip1, Relu1, Ip2, Loss };

std::string message_of(const NetParam& net) {
  try {
    Net(net, {.threads = 1});
  } catch (const NetError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

/// What LeNet says with one layer replaced, and whether that is `expected`, where "<3>" stands for the place of layer 3
/// and "<here>" for that of the new layer.
void check_message(Position position, LayerParam layer, std::string expected) {
  const auto put = [&](const std::string& mark, int line) {
    for (std::size_t at; (at = expected.find(mark)) != std::string::npos;)
      expected.replace(at, mark.size(), "net_error_test.cc:" + std::to_string(line));
  };
  put("<here>", layer.where().line);
  for (int i = 0; i <= Loss; ++i) put("<" + std::to_string(i) + ">", first_line + i);
  NetParam net = lenet(64);
  net.layers[position] = std::move(layer);
  CHECK(message_of(net) == expected);
}

}  // namespace

TEST_CASE("each layer knows its own line") {
  const int line = __LINE__ + 1;
  const ReLULayer relu{"relu", {"ip1"}};
  CHECK(relu.where.line == line);
  for (int i = 0; i <= Loss; ++i) CHECK(lenet(64).layers[static_cast<std::size_t>(i)].where().line == first_line + i);
}

TEST_CASE("the net itself is in order") {
  CHECK(message_of(lenet(64)) == "nothing was thrown");
}

TEST_CASE("an input misspelt") {
  check_message(
      Conv2,
      ConvolutionLayer{"conv2", {"pol1"}, {.kernel = {5, 5}, .num_output = 50}},
      "net \"LeNet\", layer \"conv2\" (ConvolutionLayer): reads \"pol1\", which no layer is called; did you mean "
      "\"pool1\"?\n  at <here>\n  layers so far: data, label, conv1, pool1");
}

TEST_CASE("an input unknown") {
  check_message(
      Conv2,
      ConvolutionLayer{"conv2", {"norm1"}, {.kernel = {5, 5}, .num_output = 50}},
      "net \"LeNet\", layer \"conv2\" (ConvolutionLayer): reads \"norm1\", which no layer is called\n  at <here>\n"
      "  layers so far: data, label, conv1, pool1");
}

TEST_CASE("an input defined later") {
  check_message(
      Relu1,
      ReLULayer{"relu1", {"ip2"}},
      "net \"LeNet\", layer \"relu1\" (ReLULayer): reads \"ip2\", which is only defined at line " +
          std::to_string(first_line + Ip2) + "; move it up\n  at <here>");
}

TEST_CASE("a layer reads its own output") {
  check_message(
      Relu1,
      ReLULayer{"relu1", {"relu1"}},
      "net \"LeNet\", layer \"relu1\" (ReLULayer): reads its own output\n  at <here>");
}

TEST_CASE("a name used twice") {
  check_message(
      Conv2,
      ConvolutionLayer{"conv1", {"pool1"}, {.kernel = {5, 5}, .num_output = 50}},
      "net \"LeNet\", layer \"conv1\" (ConvolutionLayer): the name is taken by the ConvolutionLayer at line " +
          std::to_string(first_line + Conv1) + "\n  at <here>");
}

TEST_CASE("no name") {
  check_message(
      Relu1,
      ReLULayer{"", {"ip1"}},
      "net \"LeNet\", layer \"\" (ReLULayer): a layer needs a name\n  at <here>");
}

TEST_CASE("batch sizes differ") {
  check_message(
      Label,
      RDDLayer{"label", {32, 1}},
      "net \"LeNet\", layer \"loss\" (SoftmaxWithLoss): the scores hold 64 examples and the labels 32\n"
      "  at <9>\n"
      "  input 0: ip2          [64, 10]           <8>\n"
      "  input 1: label        [32, 1]            <here>");
}

TEST_CASE("one-hot labels") {
  check_message(
      Label,
      RDDLayer{"label", {64, 10}},
      "net \"LeNet\", layer \"loss\" (SoftmaxWithLoss): expects one label for each example, not 10\n"
      "  at <9>\n"
      "  input 0: ip2          [64, 10]           <8>\n"
      "  input 1: label        [64, 10]           <here>");
}

TEST_CASE("a kernel too large") {
  check_message(
      Conv2,
      ConvolutionLayer{"conv2", {"pool1"}, {.kernel = {15, 15}, .num_output = 50}},
      "net \"LeNet\", layer \"conv2\" (ConvolutionLayer): kernel 15x15 is larger than its 12x12 input (pad "
      "included)\n"
      "  at <here>\n"
      "  input 0: pool1        [64, 20, 12, 12]   <3>");
}

TEST_CASE("a convolution after an inner product") {
  check_message(
      Relu1,
      ConvolutionLayer{"relu1", {"ip1"}, {.kernel = 3, .num_output = 8}},
      "net \"LeNet\", layer \"relu1\" (ConvolutionLayer): expects an image [N, C, H, W], which has 4 "
      "dimensions, not 2\n"
      "  at <here>\n"
      "  input 0: ip1          [64, 500]          <6>");
}

TEST_CASE("more elements than can be counted, and more dimensions") {
  constexpr Dim much = Dim{1} << 32;
  const int line = __LINE__ + 1;
  const RDDLayer data{"data", {much, much, 1, 2, 2, 2}};
  const std::string at = "\n  at net_error_test.cc:" + std::to_string(line);
  CHECK(
      message_of(NetParam("n", data, ConvolutionNdLayer{"c", {"data"}, {.kernel = {1}, .num_output = 1, .axis = 2}})) ==
      "net \"n\", layer \"data\" (RDDLayer): shape [4294967296, 4294967296, 1, 2, 2, 2] of f64 needs more than "
      "2^63 - 1 bytes" +
          at);
  const RDDLayer deep{"data", {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}};
  const auto convolved =
      message_of(NetParam("n", deep, ConvolutionNdLayer{"c", {"data"}, {.kernel = {1}, .num_output = 1, .axis = 0}}));
  CHECK(
      convolved.find(
          "layer \"c\" (ConvolutionNdLayer): its weights would have 13 dimensions and may have at most 12") !=
      convolved.npos);
}

TEST_CASE("num_output = 0") {
  check_message(
      Ip1,
      InnerProductLayer{"ip1", {"pool2"}, {.num_output = 0}},
      "net \"LeNet\", layer \"ip1\" (InnerProductLayer): option .num_output is required\n"
      "  at <here>\n"
      "  input 0: pool2        [64, 50, 4, 4]     <5>");
}

TEST_CASE("too few inputs from a list made at run time") {
  check_message(
      Loss,
      SoftmaxWithLoss{"loss", Inputs<2>(std::vector<std::string>{"ip2"})},
      "net \"LeNet\", layer \"loss\" (SoftmaxWithLoss): takes 2 inputs, not 1\n  at <here>");
}

TEST_CASE("an input of the other phase") {
  check_message(
      Label,
      RDDLayer{"label", {64, 1}, Include::Test},
      "net \"LeNet\", layer \"loss\" (SoftmaxWithLoss): reads \"label\", which is there in the test phase "
      "only\n  at <9>");
}

TEST_CASE("an error carries its parts") {
  NetParam net = lenet(64);
  net.layers[Label] = RDDLayer{"label", {32, 1}};
  try {
    infer_shapes(net, Phase::Train);
    FAIL("nothing was thrown");
  } catch (const NetError& error) {
    CHECK(error.net() == "LeNet");
    CHECK(error.layer() == "loss");
    CHECK(error.where().line == first_line + Loss);
    CHECK(error.inputs() == std::vector<std::string>{"ip2", "label"});
  }
}

TEST_CASE("a description is a value: compared, copied, printed, built in loops") {
  CHECK(lenet(64) == lenet(64));
  CHECK_FALSE(lenet(64) == lenet(32));
  NetParam copy = lenet(64);
  copy.layers[Ip1] = InnerProductLayer{"ip1", {"pool2"}, {.num_output = 501}};
  CHECK_FALSE(copy == lenet(64));
  CHECK(
      summary(lenet(64)) ==
      "LeNet\n"
      "  data     RDDLayer           [64, 1, 28, 28]    <-\n"
      "  label    RDDLayer           [64, 1]            <-\n"
      "  conv1    ConvolutionLayer   [64, 20, 24, 24]   <- data\n"
      "  pool1    PoolingLayer       [64, 20, 12, 12]   <- conv1\n"
      "  conv2    ConvolutionLayer   [64, 50, 8, 8]     <- pool1\n"
      "  pool2    PoolingLayer       [64, 50, 4, 4]     <- conv2\n"
      "  ip1      InnerProductLayer  [64, 500]          <- pool2\n"
      "  relu1    ReLULayer          [64, 500]          <- ip1\n"
      "  ip2      InnerProductLayer  [64, 10]           <- relu1\n"
      "  loss     SoftmaxWithLoss    [1]                <- ip2, label\n");
  NetParam small(
      "small",
      RDDLayer{"data", {8, 3, 32, 32}, Include::Train},
      ConvolutionLayer{"conv", {"data"}, {.kernel = 3, .num_output = 4, .stride = {1, 2}, .bias = false}},
      ReLULayer{"relu", {"conv"}, {.negative_slope = 0.1}},
      ConcatLayer{"both", {"conv", "relu"}});
  CHECK(
      to_string(small) ==
      "NetParam(\"small\",\n"
      "    RDDLayer{\"data\", {8, 3, 32, 32}, Include::Train},\n"
      "    ConvolutionLayer{\"conv\", {\"data\"}, {.kernel = 3, .num_output = 4, .stride = {1, 2}, .bias = false}},\n"
      "    ReLULayer{\"relu\", {\"conv\"}, {.negative_slope = 0.1}},\n"
      "    ConcatLayer{\"both\", {\"conv\", \"relu\"}})");
  REQUIRE(small.layers[1].as<ConvolutionLayer>() != nullptr);
  CHECK(small.layers[1].as<ConvolutionLayer>()->options.num_output == 4);
  CHECK(small.layers[1].as<PoolingLayer>() == nullptr);
  NetParam deep("deep", RDDLayer{"data", {8, 3, 32, 32}});
  std::string last = "data";
  for (int i = 1; i <= 3; ++i) {
    const std::string n = std::to_string(i);
    deep.add(ConvolutionLayer{"conv" + n, {last}, {.kernel = 3, .num_output = 16 << i, .pad = 1}})
        .add(ReLULayer{"relu" + n, {"conv" + n}});
    last = "relu" + n;
  }
  CHECK(infer_shapes(deep, Phase::Train).back().top_shapes[0] == Shape{8, 128, 32, 32});
}
