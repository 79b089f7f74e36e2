#include "sparknet/net.h"

#include <doctest/doctest.h>

#include <cmath>
#include <thread>

#include "sparknet/check_gradients.h"
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
#include "tests/count_allocations.h"
#include "tests/message_of.h"
#include "tests/nets.h"

using namespace sparknet;
using namespace sparknet::testing;

namespace {

struct NetCase {
  NetParam param;
  Shape example;
};

/// Batch normalisation with what may follow it: scales with and without bias, ReLUs or none, running statistics, narrow
/// channels, a scale of another axis, a reader beside, and a scale that another one shares.
NetParam normalised_net(Dim batch) {
  const ConvolutionOptions wide{.kernel = {3, 3}, .num_output = 4, .pad = {1, 1}};
  const LayerExtras shared{.param = {{.name = "factors"}}};
  return NetParam(
      "normalised",
      RDDLayer{"data", {batch, 2, 8, 8}},
      RDDLayer{"label", {batch}},
      ConvolutionLayer{"conv1", {"data"}, wide},
      BatchNormLayer{"norm1", {"conv1"}},
      with(ScaleLayer{"scale1", {"norm1"}, {.filler = Filler::uniform(0.5, 2), .bias = true}}, shared),
      ReLULayer{"relu1", {"scale1"}, {.negative_slope = 0.25}},
      ConvolutionLayer{"conv2", {"relu1"}, wide},
      BatchNormLayer{"norm2", {"conv2"}},
      with(ScaleLayer{"scale2", {"norm2"}}, shared),
      EltwiseLayer{"sum", {"relu1", "scale2"}, {.coeff = {1, 0.5}}},
      ReLULayer{"relu2", {"sum"}},
      BatchNormLayer{"norm3", {"relu2"}, {.use_global_stats = true, .eps = 1}},
      ScaleLayer{"scale3", {"norm3"}, {.bias = true, .bias_filler = Filler::constant(0.1)}},
      ReLULayer{"relu3", {"scale3"}},
      ReLULayer{"again", {"relu3"}, {.negative_slope = 0.5}},
      PoolingLayer{"pool", {"again"}, {.kernel = {2, 2}, .stride = {2, 2}}},
      BatchNormLayer{"narrow", {"pool"}},
      ScaleLayer{"scale4", {"narrow"}, {.bias = true}},
      ConvolutionLayer{"conv5", {"scale4"}, {.kernel = {1, 1}, .num_output = 3, .pad = {1, 1}}},
      BatchNormLayer{"norm5", {"conv5"}},
      ScaleLayer{"scale5", {"norm5"}},
      BatchNormLayer{"norm6", {"scale5"}},
      ScaleLayer{"scale6", {"norm6"}, {.axis = 2}},
      InnerProductLayer{"ip", {"scale6"}, {.num_output = 5}},
      SoftmaxWithLoss{"loss", {"ip", "label"}});
}

/// Small LeNet, the branching net, the normalised one, and `random` random ones.
std::vector<NetCase> net_cases(std::uint64_t random = 0) {
  std::vector<NetCase> cases{
      {small_lenet(6), {1, 12, 12}},
      {branching_net(5), {2, 8, 8}},
      {normalised_net(4), {2, 8, 8}}};
  for (std::uint64_t seed = 0; seed < random; ++seed) cases.push_back({random_net(3, seed), {2, 8, 8}});
  return cases;
}

std::vector<std::string> all_blobs(const NetParam& param) {
  return Net(param, {.threads = 1}).blob_names();
}

/// y = x^2: may run in place as far as it says, but reads x in backward.
struct RunningSquare final : Layer {
  void setup(LayerSetup& setup) override { setup.in_place(); }
  void forward(LayerIO& io) override {
    const auto x = io.bottom().span<double>();
    const auto y = io.top().span<double>();
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] * x[i];
  }
  void backward(LayerIO& io) override {
    const auto x = io.bottom().span<double>();
    const auto dy = io.top_diff().span<double>(), dx = io.bottom_diff().span<double>();
    for (std::size_t i = 0; i < x.size(); ++i) dx[i] = 2 * x[i] * dy[i];
  }
};

/// y = e^x, in place; backward reads y.
struct RunningExp final : Layer {
  void setup(LayerSetup& setup) override {
    setup.in_place();
    setup.backward_reads(false, true);
  }
  void forward(LayerIO& io) override {
    const auto x = io.bottom().span<double>();
    const auto y = io.top().span<double>();
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = std::exp(x[i]);
  }
  void backward(LayerIO& io) override {
    const auto y = io.top().span<double>(), dy = io.top_diff().span<double>(), dx = io.bottom_diff().span<double>();
    for (std::size_t i = 0; i < y.size(); ++i) dx[i] = y[i] * dy[i];
  }
};

template <class Running>
struct InPlaceLayer {
  static constexpr std::string_view type = "InPlaceLayer";
  std::string name;
  Inputs<1> bottom;
  Where where = Where::here();
  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const { return in[0]; }
  std::unique_ptr<Layer> make() const { return std::make_unique<Running>(); }
  bool operator==(const InPlaceLayer&) const = default;
};

}  // namespace

TEST_CASE("the plan changes no bit: fusion, in-place, shared memory, recomputation and threads against none of them") {
  for (const NetCase& c : net_cases(60))
    for (const DType dtype : {DType::F32, DType::F64}) {
      CAPTURE(c.param.name);
      const NetOptions plain{
          .dtype = dtype,
          .threads = 1,
          .fuse = false,
          .share_memory = false,
          .keep = all_blobs(c.param)};
      Net reference(c.param, plain);
      reference.set_data(random_examples(17, c.example, 3));
      for (const int threads : {1, 3})
        for (const bool fuse : {false, true})
          for (const auto& [share, recompute] : {std::pair{false, false}, {true, false}, {true, true}}) {
            Net net(
                c.param,
                {.dtype = dtype, .threads = threads, .fuse = fuse, .share_memory = share, .recompute = recompute});
            net.set_data(random_examples(17, c.example, 3));
            reference.feed()->seek(0);
            reference.set_passes(0);
            for (int step = 0; step < 3; ++step) {
              reference.clear_gradients();
              net.clear_gradients();
              CHECK(net.forward() == reference.forward());
              net.backward();
              reference.backward();
              CHECK(net.gradient_arena() == reference.gradient_arena());
            }
          }
    }
}

TEST_CASE("blobs are computed again instead of kept where that is a pass over them") {
  // Blocks of a residual net: what lies behind each normalisation, and every other sum.
  NetParam param("blocks", RDDLayer{"data", {4, 8, 16, 16}}, RDDLayer{"label", {4}});
  const ConvolutionOptions wide{.kernel = 3, .num_output = 8, .pad = 1};
  std::string last = "data";
  for (const std::string block : {"a", "b", "c", "d"}) {
    param.add(ConvolutionLayer{block + "_conv1", {last}, wide})
        .add(BatchNormLayer{block + "_norm1", {block + "_conv1"}})
        .add(ScaleLayer{block + "_scale1", {block + "_norm1"}})
        .add(ReLULayer{block + "_relu1", {block + "_scale1"}})
        .add(ConvolutionLayer{block + "_conv2", {block + "_relu1"}, wide})
        .add(BatchNormLayer{block + "_norm2", {block + "_conv2"}})
        .add(ScaleLayer{block + "_scale2", {block + "_norm2"}})
        .add(EltwiseLayer{block + "_sum", {last, block + "_scale2"}})
        .add(ReLULayer{block + "_relu", {block + "_sum"}});
    last = block + "_relu";
  }
  param.add(InnerProductLayer{"ip", {last}, {.num_output = 5}}).add(SoftmaxWithLoss{"loss", {"ip", "label"}});

  Net kept(param), recomputed(param, {.recompute = true});
  // Of four wide blobs to a block one and a half.
  CHECK(recomputed.memory().blobs < kept.memory().blobs * 3 / 4);
  for (const char* expected :
       {"<- a_conv1           recomputed",
        "<- data, a_scale2    in place, recomputed",
        "<- a_relu, b_scale2  in place\n"})
    CHECK_MESSAGE(recomputed.summary().find(expected) != std::string::npos, expected, "\n", recomputed.summary());
  CHECK(kept.summary().find("recomputed") == std::string::npos);

  for (Net* net : {&kept, &recomputed}) {
    net->set_data(random_examples(12, {8, 16, 16}, 3));
    net->forward();
    net->backward();
  }
  CHECK(recomputed.gradient_arena() == kept.gradient_arena());
  // The running moments took in the batch once.
  CHECK(recomputed.weights() == kept.weights());
  CHECK(
      message_of([&] { recomputed.blob("a_relu"); }) ==
      "net \"blocks\": the blob \"a_relu\" has given its memory to another; to read it, build the net with .keep = "
      "{\"a_relu\"}");
  Net asked(param, {.recompute = true, .keep = {"a_relu"}});
  asked.set_data(random_examples(12, {8, 16, 16}, 3));
  asked.forward();
  asked.backward();
  CHECK(asked.blob("a_relu").shape() == Shape{4, 8, 16, 16});
}

TEST_CASE("a blob that another is computed again from is kept") {
  // "sum" lies where "a" does, which comes before "b"; it is wanted again first.
  const ConvolutionOptions wide{.kernel = 3, .num_output = 8, .pad = 1};
  const NetParam param(
      "pinned",
      RDDLayer{"data", {4, 8, 16, 16}},
      RDDLayer{"label", {4}},
      ConvolutionLayer{"conv_a", {"data"}, wide},
      BatchNormLayer{"norm_a", {"conv_a"}},
      ScaleLayer{"a", {"norm_a"}},
      ConvolutionLayer{"conv_b", {"data"}, wide},
      BatchNormLayer{"norm_b", {"conv_b"}},
      ScaleLayer{"scale_b", {"norm_b"}},
      ReLULayer{"b", {"scale_b"}},
      EltwiseLayer{"sum", {"a", "b"}},
      ConvolutionLayer{"side", {"b"}, wide},
      ConvolutionLayer{"conv_c", {"sum"}, wide},
      EltwiseLayer{"both", {"side", "conv_c"}},
      InnerProductLayer{"ip", {"both"}, {.num_output = 5}},
      SoftmaxWithLoss{"loss", {"ip", "label"}});
  Net kept(param), recomputed(param, {.recompute = true});
  CHECK(recomputed.summary().find("<- a, b          in place, recomputed") != std::string::npos);
  for (Net* net : {&kept, &recomputed}) {
    net->set_data(random_examples(12, {8, 16, 16}, 3));
    net->forward();
    net->backward();
  }
  CHECK(recomputed.gradient_arena() == kept.gradient_arena());
}

TEST_CASE(
    "a batch normalisation takes over the scale and the ReLU behind it, where nobody asks for what lies between") {
  const NetParam param = normalised_net(4);
  const auto fused = [&](const NetOptions& options) {
    const std::string summary = Net(param, options).summary();
    int count = 0;
    for (std::size_t at = 0; (at = summary.find("fused into norm", at)) != std::string::npos; ++at) ++count;
    return count;
  };
  // scale1, relu1, scale2, scale3, relu3 and scale5: not the ReLU behind a ReLU, narrow channels, or another axis.
  CHECK(fused({.threads = 1}) == 6);
  CHECK(fused({.phase = Phase::Test, .threads = 1}) == 6);
  CHECK(fused({.threads = 1, .fuse = false}) == 0);
  CHECK(fused({.threads = 1, .keep = {"norm1"}}) == 4);
  CHECK(fused({.threads = 1, .keep = {"scale1"}}) == 5);

  Net net(param, {.threads = 1}), plain(param, {.threads = 1, .fuse = false});
  const auto counted = [](const Net& of) {
    const std::string summary = of.summary();
    const std::size_t at = summary.find("parameters ");
    return summary.substr(at, summary.find(';', at) - at);
  };
  CHECK(counted(net) == counted(plain));
  CHECK(net.params() == plain.params());
  for (Net* const each : {&net, &plain}) {
    each->set_data(random_examples(8, {2, 8, 8}, 3));
    for (int step = 0; step < 3; ++step) each->forward();
  }
  CHECK(net.param_arena() == plain.param_arena());  // the running moments
  CHECK(
      message_of([&] { net.blob("norm1"); }) ==
      "net \"normalised\": the blob \"norm1\" was overwritten by \"scale1\", which is fused with the layer before it; "
      "to read it, build the net with .keep = {\"norm1\"}");
  Net test(param, {.phase = Phase::Test, .threads = 1}, net),
      plain_test(param, {.phase = Phase::Test, .fuse = false}, net);
  for (Net* const each : {&test, &plain_test}) each->set_data(random_examples(8, {2, 8, 8}, 4));
  CHECK(test.forward() == plain_test.forward());
}

TEST_CASE("minimal filtering is a choice of F32, which moves a loss by the rounding of sums") {
  const NetParam param(
      "wide",
      RDDLayer{"data", {2, 16, 12, 12}},
      RDDLayer{"label", {2}},
      ConvolutionLayer{"conv", {"data"}, {.kernel = {3, 3}, .num_output = 32, .pad = {1, 1}}},
      ReLULayer{"relu", {"conv"}},
      InnerProductLayer{"ip", {"relu"}, {.num_output = 5}},
      SoftmaxWithLoss{"loss", {"ip", "label"}});
  const auto loss = [&](DType dtype, bool winograd) {
    Net net(param, {.dtype = dtype, .winograd = winograd, .threads = 1});
    net.set_data(random_examples(4, {16, 12, 12}, 3));
    return net.forward();
  };
  CHECK(loss(DType::F64, true) == loss(DType::F64, false));
  CHECK(loss(DType::F32, true) != loss(DType::F32, false));
  CHECK(loss(DType::F32, true) == doctest::Approx(loss(DType::F32, false)).epsilon(1e-5));
}

TEST_CASE("gradients of whole nets are right: against central differences in double") {
  int checked = 0;
  for (const NetCase& c : net_cases(20)) {
    CAPTURE(c.param.name);
    Net net(c.param, {.dtype = DType::F64, .threads = 2});
    net.set_data(random_examples(11, c.example, 5), {.prefetch = 0});
    const auto loss = [&] {
      net.feed()->seek(0);
      net.set_passes(0);
      return net.forward();
    };
    loss();
    net.clear_gradients();
    net.backward();
    const Tensor gradient = net.gradient_arena().copy();
    Tensor weights = net.param_arena();
    Random random(9);
    for (const ParamInfo& info : net.params())
      for (int n = 0; n < 12 && info.lr_mult != 0; ++n, ++checked) {
        const Dim at = info.offset + static_cast<Dim>(random.below(static_cast<std::uint64_t>(info.shape.count())));
        const double value = weights.get<double>(at), step = 1e-6;
        weights.set<double>(value + step, at);
        const double above = loss();
        weights.set<double>(value - step, at);
        const double below = loss();
        weights.set<double>(value, at);
        CAPTURE(info.full_name());
        CHECK(gradient.get<double>(at) == doctest::Approx((above - below) / (2 * step)).epsilon(1e-5).scale(0.01));
      }
  }
  CHECK(checked > 500);
}

TEST_CASE("a layer that may run in place but reads its bottom in backward does not") {
  const NetParam param(
      "squares",
      RDDLayer{"data", {3, 6}},
      RDDLayer{"label", {3}},
      InnerProductLayer{"ip1", {"data"}, {.num_output = 4}},
      InPlaceLayer<RunningSquare>{"square", {"ip1"}},
      InnerProductLayer{"ip2", {"square"}, {.num_output = 5}},
      SoftmaxWithLoss{"loss", {"ip2", "label"}});
  Net train(param, {.dtype = DType::F64, .threads = 1});
  CHECK(train.summary().find("in place") == std::string::npos);
  const Net test(param, {.phase = Phase::Test, .dtype = DType::F64, .threads = 1});
  CHECK(test.summary().find("in place") != std::string::npos);  // nothing reads it later
  const GradientReport report = check_gradients(param, {{"label", Tensor::from<float>({3}, {0, 4, 1})}});
  CHECK_MESSAGE(report.passed, report.text);
}

TEST_CASE("nothing runs in place over a blob that the layer before reads in backward") {
  const NetParam param(
      "powers",
      RDDLayer{"data", {3, 6}},
      RDDLayer{"label", {3}},
      InnerProductLayer{"ip1", {"data"}, {.num_output = 4}},
      InPlaceLayer<RunningExp>{"exp1", {"ip1"}},
      InPlaceLayer<RunningExp>{"exp2", {"exp1"}},
      InnerProductLayer{"ip2", {"exp2"}, {.num_output = 5}},
      SoftmaxWithLoss{"loss", {"ip2", "label"}});
  const std::string summary = Net(param, {.dtype = DType::F64, .threads = 1}).summary();
  CHECK(summary.find("in place") != std::string::npos);          // exp1
  CHECK(summary.find("in place") == summary.rfind("in place"));  // and not exp2
  const GradientReport report =
      check_gradients(param, {{"label", Tensor::from<float>({3}, {0, 4, 1})}}, {.values = Filler::gaussian(0, 0.3)});
  CHECK_MESSAGE(report.passed, report.text);
}

TEST_CASE("a summary without a net is the net's, and shows what cannot be allocated") {
  for (const Phase phase : {Phase::Train, Phase::Test}) {
    const NetOptions options{.phase = phase, .threads = 1};
    CHECK(Net::summary(branching_net(5), options) == Net(branching_net(5), options).summary());
  }
  const NetParam huge(
      "huge",
      RDDLayer{"data", {Dim{1} << 20, Dim{1} << 20}},
      InnerProductLayer{"ip", {"data"}, {.num_output = Dim{1} << 21}});
  CHECK(Net::summary(huge, {.threads = 1}).find("parameters 2199025352704;") != std::string::npos);
}

TEST_CASE("inference of a chain takes two buffers beside its input") {
  NetParam param("chain", RDDLayer{"data", {4, 8, 16, 16}});
  std::string last = "data";
  for (int i = 0; i < 6; ++i) {
    const std::string name = "conv" + std::to_string(i);
    param.layers.push_back(ConvolutionLayer{name, {last}, {.kernel = {3, 3}, .num_output = 8, .pad = {1, 1}}});
    param.layers.push_back(BatchNormLayer{name + "/norm", {name}});
    param.layers.push_back(ScaleLayer{name + "/scale", {name + "/norm"}, {.bias = true}});
    last = name + "/scale";
  }
  const std::size_t blob = 4 * 8 * 16 * 16 * sizeof(float);
  const Net net(param, {.phase = Phase::Test, .threads = 1});
  CHECK(net.memory().blobs >= 3 * blob);
  CHECK(net.memory().blobs < 3 * blob + 4096);  // and what the normalisations keep of a pass
}

TEST_CASE("gradients accumulate until they are cleared") {
  Net net(small_lenet(4), {.dtype = DType::F64, .threads = 1});
  net.set_data(random_examples(4, {1, 12, 12}, 1));
  net.forward();
  net.backward();
  const Tensor once = net.gradient_arena().copy();
  net.forward();
  net.backward();
  CHECK(equal(net.gradient_arena(), once + once, 1e-12));
  net.clear_gradients();
  net.forward();
  net.backward();
  CHECK(net.gradient_arena() == once);
}

TEST_CASE("a step allocates nothing once a net is built") {
  for (const NetCase& c : net_cases())
    for (const int threads : {1, 2})
      for (const int prefetch : {0, 2}) {
        Net net(c.param, {.threads = threads});
        net.set_data(random_examples(64, c.example, 2), {.shuffle = false, .prefetch = prefetch});
        for (int warm = 0; warm < 4; ++warm) net.forward(), net.backward();
        const std::size_t before = allocations();
        for (int step = 0; step < 3; ++step) net.forward(), net.clear_gradients(), net.backward();
        CHECK(allocations() == before);
      }
}

TEST_CASE("blobs are shared, and one that has given its memory away says so") {
  const NetParam param = small_lenet(6);
  Net net(param, {.threads = 1});
  net.set_data(random_examples(6, {1, 12, 12}, 3));
  CHECK(net.memory().blobs < net.memory().blobs_unshared);
  CHECK(message_of([&] { net.blob("pool1"); }) == "net \"small LeNet\": the blob \"pool1\" is there after forward()");
  net.forward();
  CHECK(net.blob("pool1").shape() == Shape{6, 4, 5, 5});
  CHECK(
      message_of([&] { net.blob("ip1"); }) ==
      "net \"small LeNet\": the blob \"ip1\" was overwritten by \"relu1\", which is fused with the layer before it; to "
      "read it, build the net with .keep = {\"ip1\"}");
  CHECK(message_of([&] { net.blob("pol1"); }) == "net \"small LeNet\" has no blob \"pol1\"; did you mean \"pool1\"?");
  CHECK(message_of([&] {
          net.blob_diff("data");
        }) == "net \"small LeNet\": the gradient of \"data\" is not computed: no parameter that learns depends on it");

  // Whatever can be read is what it would be if nothing were shared.
  Net plain(param, {.threads = 1, .fuse = false, .share_memory = false, .keep = all_blobs(param)});
  plain.set_data(random_examples(6, {1, 12, 12}, 3));
  plain.forward();
  int readable = 0;
  const auto compare = [&](bool diff) {
    for (const std::string& name : net.blob_names()) try {
        const Tensor value = diff ? net.blob_diff(name) : net.blob(name);
        CAPTURE(name);
        CHECK(value == (diff ? plain.blob_diff(name) : plain.blob(name)));
        ++readable;
      } catch (const NetError&) {
      }
  };
  compare(false);
  CHECK(readable >= 7);
  net.backward();
  plain.backward();
  readable = 0;
  compare(false);
  compare(true);
  CHECK(readable > 4);
}

TEST_CASE("keep makes a blob readable at any time") {
  Net net(small_lenet(6), {.threads = 1, .keep = {"ip1", "conv2"}});
  net.set_data(random_examples(6, {1, 12, 12}, 3));
  net.forward();
  net.backward();
  const Tensor before = net.blob("ip1");
  CHECK(net.blob("conv2").count() > 0);
  bool negative = false;
  for (const float x : before.span<const float>()) negative = negative || x < 0;
  CHECK(negative);  // it was not fused with the ReLU
  CHECK_THROWS_AS(Net(small_lenet(6), {.keep = {"nothing"}}), NetError);
}

TEST_CASE("equal seeds give equal weights, and a layer's weights do not depend on its neighbours") {
  Net a(small_lenet(6), {.threads = 1, .seed = 4}), b(small_lenet(3), {.threads = 2, .seed = 4}),
      c(small_lenet(6), {.threads = 1, .seed = 5});
  CHECK(a.weights() == b.weights());
  CHECK_FALSE(a.weights() == c.weights());
  NetParam longer("longer", RDDLayer{"data", {6, 1, 12, 12}});
  longer.add(ConvolutionLayer{"first", {"data"}, {.kernel = 1, .num_output = 1}})
      .add(ConvolutionLayer{"conv1", {"first"}, {.kernel = 3, .num_output = 4}});
  Net d(longer, {.seed = 4});
  CHECK(d.weights()["conv1"][0] == a.weights()["conv1"][0]);
}

TEST_CASE("weights go out, are averaged and go in") {
  Net a(small_lenet(2), {.threads = 1, .seed = 1}), b(small_lenet(2), {.threads = 1, .seed = 2});
  const std::vector<WeightCollection> both{a.weights(), b.weights()};
  const WeightCollection middle = mean(both);
  const Tensor expected = (both[0]["conv1"][0] + both[1]["conv1"][0]) / 2.0;
  CHECK(middle["conv1"][0] == expected);
  a.set_weights(middle);
  CHECK(a.weights() == middle);
  CHECK(equal(a.weights(), both[0], 10));
  CHECK_FALSE(equal(a.weights(), both[0], 1e-6));
  CHECK(
      message_of([&] { (void)middle["conv3"]; }) == "no parameters of a layer \"conv3\" are in this weight collection");

  NetParam other = small_lenet(2);
  other.layers[2] = ConvolutionLayer{"conv1", {"data"}, {.kernel = 3, .num_output = 5}};
  const WeightCollection before = a.weights();
  CHECK(
      message_of([&] { a.set_weights(Net(other, {.threads = 1}).weights()); }) ==
      "weights do not fit net \"small LeNet\": \"conv1.weights\" is [5, 1, 3, 3] there and [4, 1, 3, 3] in the net\n"
      "  to train this layer from scratch, give it another name");
  CHECK(a.weights() == before);
}

TEST_CASE("a test net uses its owner's parameters") {
  NetParam param = small_lenet(6);
  param.add(AccuracyLayer{"accuracy", {"ip2", "label"}, {}, Include::Test});
  Net train(param, {.threads = 1});
  Net test(param, {.phase = Phase::Test, .threads = 1}, train);
  CHECK(test.memory().params == 0);
  CHECK(test.outputs() == std::vector<std::string>{"loss", "accuracy"});
  test.set_data(random_examples(6, {1, 12, 12}, 3));
  const double before = test.forward();
  train.param_arena().fill(0);
  CHECK(test.forward() == doctest::Approx(std::log(5)));
  CHECK(before != doctest::Approx(std::log(5)).epsilon(1e-9));
  CHECK(message_of([&] {
          test.backward();
        }) == "net \"small LeNet\" was built for the test phase and has no backward pass");
}

TEST_CASE("a forward pass in the test phase needs far less memory") {
  const Net train(small_lenet(6), {.threads = 1});
  const Net test(small_lenet(6), {.phase = Phase::Test, .threads = 1});
  CHECK(test.memory().blobs < train.memory().blobs);
  CHECK(test.memory().gradients == 0);
}

TEST_CASE("inputs are set by hand, in any type, and refused with both shapes") {
  NetParam param("tiny", RDDLayer{"data", {2, 3}});
  const int line = __LINE__ - 1;
  param.add(InnerProductLayer{"ip", {"data"}, {.num_output = 1, .bias = false, .weight_filler = Filler::constant(2)}});
  Net net(param, {.phase = Phase::Test, .threads = 1});
  net.set_input("data", Tensor::from<std::uint8_t>({2, 3}, {1, 2, 3, 4, 5, 6}));
  net.forward();
  CHECK(net.blob("ip") == Tensor::from<float>({2, 1}, {12, 30}));
  net.forward();
  CHECK(net.blob("ip") == Tensor::from<float>({2, 1}, {12, 30}));
  CHECK(
      message_of([&] {
        net.set_input("data", Tensor(Shape{4, 3}));
      }) ==
      "net \"tiny\": layer \"data\" (RDDLayer) takes [2, 3], and the batch given to it is [4, 3]\n  at net_test.cc:" +
          std::to_string(line) +
          "\n  the batch size is part of the net: describe it for batches of 4, or feed batches of 2");
  CHECK(message_of([&] {
          net.set_input("ip", Tensor(Shape{2, 1}));
        }).find("is computed by the net") != std::string::npos);
}

TEST_CASE("a label outside of the classes names the net, the layer and the example") {
  const NetParam param(
      "labels",
      RDDLayer{"data", {3, 4}},
      RDDLayer{"label", {3}},
      SoftmaxWithLoss{"loss", {"data", "label"}});
  Net net(param, {.threads = 1});
  net.set_input("label", Tensor::from<float>({3}, {0, 4, 1}));
  CHECK(
      message_of([&] { net.forward(); }) ==
      "net \"labels\": nothing was given to input \"data\"; call set_data(source), or set_input(\"data\", batch)");
  net.set_input("data", Tensor(Shape{3, 4}));
  const std::string message = message_of([&] { net.forward(); });
  CHECK(
      message.find(
          "net \"labels\", layer \"loss\" (SoftmaxWithLoss): the label of example 1 is 4 and there are 4 classes") ==
      0);
  net.set_input("label", Tensor::from<float>({3}, {0, 3, 1}));
  CHECK(net.forward() == doctest::Approx(std::log(4)));
}

TEST_CASE("refusals of a whole net") {
  const NetParam param = small_lenet(2);
  CHECK(message_of([&] {
          Net(param, {.dtype = DType::U8});
        }) == "net \"small LeNet\": a net computes in f32 or f64, not in u8");
  CHECK(message_of([&] { Net(param, {.threads = -1}); }) == "net \"small LeNet\": -1 threads cannot run it");
  CHECK(message_of([&] { Net(NetParam("empty")); }) == "net \"empty\" has no layers in this phase");
  Net net(param, {.threads = 1});
  CHECK(message_of([&] {
          net.backward();
        }) == "net \"small LeNet\": a backward pass follows a forward pass; call forward() first");
  CHECK(message_of([&] {
          net.set_data(from_tensors({{"data", Tensor(Shape{4, 1, 12, 12})}}));
        }).find("net \"small LeNet\" cannot be fed: ") == 0);
}

TEST_CASE("a layer that does not learn gets no gradient, and nothing is computed below it") {
  NetParam param = small_lenet(2);
  param.layers[2] = ConvolutionLayer{"conv1", {"data"}, {.kernel = 3, .num_output = 4, .lr_mult = {0, 0}}};
  Net net(param, {.threads = 1});
  net.set_data(random_examples(2, {1, 12, 12}, 3));
  net.forward();
  net.backward();
  CHECK_THROWS_AS(net.blob_diff("conv1"), NetError);
  const ParamInfo& frozen = net.params()[0];
  for (Dim i = 0; i < frozen.shape.count(); ++i) CHECK(net.gradient_arena().get<float>(frozen.offset + i) == 0);
}

TEST_CASE("the summary and the graph") {
  Net net(small_lenet(6), {.threads = 1});
  const std::string summary = net.summary();
  CAPTURE(summary);
  CHECK(summary.find("small LeNet (train, f32, ") == 0);
  CHECK(summary.find("  conv2  ConvolutionLayer   [6, 6, 3, 4]       150  <- pool1\n") != std::string::npos);
  CHECK(
      summary.find("  relu1  ReLULayer          [6, 16]                 <- ip1         fused into ip1\n") !=
      std::string::npos);
  const std::string dot = net.dot();
  CAPTURE(dot);
  CHECK(dot.find("digraph \"small LeNet\" {") == 0);
  CHECK(
      dot.find(
          "layer2 [label = \"conv1\\nConvolutionLayer\\n[6, 4, 10, 10]\", style = filled, fillcolor = lightblue];") !=
      std::string::npos);
  CHECK(dot.find("layer0 -> layer2 [label = \"data\"];") != std::string::npos);
}

TEST_SUITE("threads") {
  TEST_CASE("two nets in two threads do not disturb each other") {
    const auto run = [](std::uint64_t seed, Tensor& gradient) {
      Net net(branching_net(5), {.threads = 2, .seed = seed});
      net.set_data(random_examples(20, {2, 8, 8}, seed));
      for (int step = 0; step < 20; ++step) net.forward(), net.clear_gradients(), net.backward();
      gradient = net.gradient_arena();
    };
    Tensor alone[2], together[2];
    run(1, alone[0]);
    run(2, alone[1]);
    std::thread other([&] { run(1, together[0]); });
    run(2, together[1]);
    other.join();
    CHECK(together[0] == alone[0]);
    CHECK(together[1] == alone[1]);
  }
}
