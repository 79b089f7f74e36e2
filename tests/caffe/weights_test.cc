#include "sparknet/caffe/weights.h"

#include <doctest/doctest.h>
#include <google/protobuf/text_format.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "sparknet/sparknet.h"
#include "src/caffe/hdf5_file.h"
#include "src/caffe/model_file.h"
#include "src/caffe/proto.h"
#include "tests/temp_dir.h"
#include "tests/tensor_values.h"

using namespace sparknet;
using namespace sparknet::caffe;
using sparknet::testing::counting;

namespace {

NetParam two_layers(Dim outputs = 3) {
  return NetParam(
      "two",
      RDDLayer{"data", {1, 2}},
      InnerProductLayer{"ip1", {"data"}, {.num_output = outputs}},
      ReLULayer{"relu1", {"ip1"}},
      InnerProductLayer{"ip2", {"relu1"}, {.num_output = 2, .bias = false}});
}

proto::NetParameter parse_text(const std::string& text) {
  proto::NetParameter net;
  REQUIRE(google::protobuf::TextFormat::ParseFromString(text, &net));
  return net;
}

Model model_of(const proto::NetParameter& net) {
  const std::string bytes = net.SerializeAsString();
  return parse_model("file", std::as_bytes(std::span(bytes)));
}

template <class E, class F>
std::string trouble(F&& f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  }
  return "none";
}

std::string read_all(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

const char* const blobs_of_ip1 = R"(
    blobs { shape { dim: 3 dim: 2 } data: 1 data: 2 data: 3 data: 4 data: 5 data: 6 }
    blobs { shape { dim: 3 } double_data: 7 double_data: 8 double_data: 9 })";

void check_ip1(const Net& net) {
  CHECK(net.weights()["ip1"][0] == Tensor::from({3, 2}, {1.F, 2.F, 3.F, 4.F, 5.F, 6.F}));
  CHECK(net.weights()["ip1"][1] == Tensor::from({3}, {7.F, 8.F, 9.F}));
}

}  // namespace

TEST_CASE("weights are copied by the names of layers") {
  Net net(two_layers());
  const WeightCollection before = net.weights();
  const Model model = model_of(parse_text(
      std::string(R"(name: "m" layer { name: "data" type: "Data" } layer { name: "ip1" type: "InnerProduct")") +
      blobs_of_ip1 + R"(} layer { name: "old" type: "PReLU" blobs { shape { dim: 1 } data: 1 } })"));
  CHECK(model.name == "m");
  REQUIRE(model.layers.size() == 3);
  CHECK(model.layers[1].type == "InnerProduct");
  const CopyReport report = copy_weights(net, model);
  CHECK(report == CopyReport{{"ip1"}, {"old"}, {"ip2"}});
  CHECK(
      to_string(report) ==
      "copied the weights of 1 layers; not in the net: \"old\"; not in the file, so left as they were: \"ip2\"");
  check_ip1(net);
  CHECK(net.weights()["ip2"][0] == before["ip2"][0]);
  Net exact(two_layers(), {.dtype = DType::F64});
  copy_weights(exact, model);
  CHECK(exact.weights()["ip1"][1] == Tensor::from({3}, {7., 8., 9.}));
}

TEST_CASE("models of V1 and of 2013") {
  const char* old_blobs = R"(
      blobs { num: 1 channels: 1 height: 3 width: 2 data: 1 data: 2 data: 3 data: 4 data: 5 data: 6 }
      blobs { num: 1 channels: 1 height: 1 width: 3 data: 7 data: 8 data: 9 })";
  for (const std::string& text :
       {R"(layers { name: "ip1" type: INNER_PRODUCT)" + std::string(old_blobs) + "}",
        R"(layers { layer { name: "ip1" type: "innerproduct")" + std::string(old_blobs) + "} }"}) {
    Net net(two_layers());
    const Model model = model_of(parse_text(text));
    CHECK(model.layers[0].type == "InnerProduct");
    copy_weights(net, model);
    check_ip1(net);
  }
}

TEST_CASE("weights that do not fit are refused, and nothing is copied") {
  Net net(two_layers(4));
  const WeightCollection before = net.weights();
  const auto copy = [&](const std::string& text) {
    const std::string said = trouble<ShapeError>([&] { copy_weights(net, model_of(parse_text(text))); });
    CHECK(net.weights() == before);
    return said;
  };
  const char* remedy = "\n  to train this layer from scratch, give it another name";
  CHECK(
      copy(
          std::string(R"(layer { name: "ip2" blobs { shape { dim: 2 dim: 4 } data: [1, 2, 3, 4, 5, 6, 7, 8] } }
                            layer { name: "ip1")") +
          blobs_of_ip1 + "}") ==
      std::string("file does not fit net \"two\": blob 0 of layer \"ip1\" is [3, 2] there and \"ip1.weights\" is "
                  "[4, 2] in the net") +
          remedy);
  CHECK(
      copy(R"(layer { name: "ip2" blobs { shape { dim: 1 } data: 1 } blobs { shape { dim: 1 } data: 1 } })") ==
      std::string("file does not fit net \"two\": layer \"ip2\" has 2 blobs there and 1 parameters in the net") +
          remedy);
}

TEST_CASE("models that make no sense") {
  const std::string prototxt = "name: \"LeNet\"\nlayer {\n  name: \"conv1\"\n}\n";
  CHECK(trouble<DataError>([&] {
          parse_model("net.prototxt", std::as_bytes(std::span(prototxt)));
        }) == "net.prototxt: is a text, and Caffe's weights are a .caffemodel or a .h5 file");
  CHECK(trouble<DataError>([&] {
          read_model("lenet.solverstate");
        }) == "lenet.solverstate: is the state of a solver; weights are in the .caffemodel that was written with it");
  const auto read = [](const std::string& text) { return trouble<DataError>([&] { model_of(parse_text(text)); }); };
  CHECK(read(R"(name: "x")") == "file: has no layers; is it a model of Caffe's?");
  CHECK(
      read(R"(layer { name: "x" blobs { shape { dim: 3 } data: 1 } })") ==
      "file: layer \"x\", blob 0: has shape [3], which is 3 numbers, and 1 are there");
  const TempDir dir;
  CHECK(trouble<DataError>([&] { read_model(dir / "none"); }) == (dir / "none").string() + ": there is no such file");
}

TEST_CASE("the tensors of a model lie in what was read, and keep it") {
  proto::NetParameter text = parse_text(std::string(R"(layer { name: "ip1")") + blobs_of_ip1 + "}");
  const Model model = model_of(text);
  CHECK(model.layers[0].blobs[1].dtype() == DType::F64);
  const Tensor kept = model_of(text).layers[0].blobs[0];
  CHECK(kept == Tensor::from({3, 2}, {1.F, 2.F, 3.F, 4.F, 5.F, 6.F}));
}

TEST_CASE("a model is written and read") {
  const TempDir dir;
  for (const DType dtype : {DType::F32, DType::F64}) {
    const Net net(two_layers(), {.dtype = dtype, .seed = 7});
    write_model(net, dir / "x.caffemodel");
    Net other(two_layers(), {.dtype = dtype, .seed = 8});
    CHECK(copy_weights(other, dir / "x.caffemodel") == CopyReport{{"ip1", "ip2"}, {}, {}});
    CHECK(other.weights() == net.weights());

    proto::NetParameter message;
    read_message(dir / "x.caffemodel", message);
    CHECK(message.name() == "two");
    REQUIRE(message.layer_size() == 4);
    CHECK(message.layer(1).type() == "InnerProduct");
    CHECK(message.layer(1).bottom(0) == "data");
    CHECK(message.layer(1).top(0) == "ip1");
    CHECK(message.layer(1).blobs(0).shape().dim_size() == 2);
    CHECK(message.layer(2).type() == "ReLU");
    CHECK((message.layer(1).blobs(0).double_data_size() == 6) == (dtype == DType::F64));
  }
  // Cut off anywhere it is refused, or the net finds nothing missing but whole layers.
  const std::string whole = read_all(dir / "x.caffemodel");
  for (std::size_t size = 1; size < whole.size(); ++size) {
    CAPTURE(size);
    Net net(two_layers());
    try {
      copy_weights(net, parse_model("file", std::as_bytes(std::span(whole).first(size))));
    } catch (const DataError&) {
    } catch (const ShapeError& error) {
      // A message that ends behind its name is whole for protobuf.
      FAIL(error.what());
    }
  }
}

TEST_CASE("parameters that layers share stand in each of them, in the shape they have there") {
  const NetParam param(
      "shared",
      RDDLayer{"data", {1, 2}},
      with(InnerProductLayer{"up", {"data"}, {.num_output = 3}}, {.param = {{"w"}, {"b"}}}),
      with(
          InnerProductLayer{"down", {"up"}, {.num_output = 2}},
          {.param = {{.name = "w", .share_mode = ShareMode::Permissive}}}),
      with(InnerProductLayer{"again", {"data"}, {.num_output = 3}}, {.param = {{}, {"b"}}}));
  Net net(param, {.threads = 1, .seed = 1}), other(param, {.threads = 1, .seed = 2});
  CHECK(net.params().size() == 4);
  std::vector<std::string> endings{"caffemodel"};
#ifdef SPARKNET_WITH_HDF5
  endings.push_back("h5");
#endif
  for (const std::string& ending : endings) {
    const TempDir dir;
    const std::filesystem::path file = dir / ("shared." + ending);
    write_model(net, file);
    const Model model = read_model(file);
    CHECK(model.layers.size() >= 3);
    if (ending == "caffemodel") {
      const auto blobs = [&](std::string_view name) {
        for (const LayerBlobs& layer : model.layers)
          if (layer.name == name) return layer.blobs;
        return std::vector<Tensor>{};
      };
      REQUIRE(blobs("down").size() == 2);
      CHECK(blobs("down")[0].shape() == Shape{2, 3});
      CHECK(blobs("down")[0].get<float>(0, 2) == blobs("up")[0].get<float>(1, 0));
      REQUIRE(blobs("again").size() == 2);
      CHECK(blobs("again")[0].shape() == Shape{3, 2});
      CHECK(blobs("again")[1].shape() == Shape{3});
    }
    other.set_weights(Net(param, {.threads = 1, .seed = 3}).weights());
    const CopyReport report = copy_weights(other, model);
    CHECK(report.kept.empty());
    CHECK(other.weights() == net.weights());
  }
}

TEST_CASE("a model says what its layers are") {
  const TempDir dir;
  write_model(Net(two_layers(), {.threads = 1}), dir / "two.caffemodel");
  proto::NetParameter net;
  REQUIRE(net.ParseFromString(read_all(dir / "two.caffemodel")));
  REQUIRE(net.layer_size() == 4);
  CHECK(net.layer(1).type() == "InnerProduct");
  CHECK(net.layer(1).inner_product_param().num_output() == 3);
  CHECK(net.layer(3).inner_product_param().bias_term() == false);
  CHECK(net.layer(3).blobs_size() == 1);
}

TEST_CASE("a damaged model harms nobody") {
  const TempDir dir;
  write_model(Net(two_layers()), dir / "x.caffemodel");
  const std::string whole = read_all(dir / "x.caffemodel");
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (const int bits : {0x01, 0x80, 0xff}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ bits);
      Net net(two_layers());
      try {
        copy_weights(net, parse_model("file", std::as_bytes(std::span(damaged))));
      } catch (const Error&) {
      }
    }
}

#ifdef SPARKNET_WITH_HDF5

TEST_CASE("models in HDF5") {
  const TempDir dir;
  const NetParam slashes(
      "s",
      RDDLayer{"data", {1, 2}},
      InnerProductLayer{"a/1x1", {"data"}, {.num_output = 3}},
      InnerProductLayer{"a/3x3", {"a/1x1"}, {.num_output = 2}},
      InnerProductLayer{"a", {"a/3x3"}, {.num_output = 2}});
  for (const DType dtype : {DType::F32, DType::F64}) {
    const Net net(slashes, {.dtype = dtype, .seed = 7});
    write_model(net, dir / "x.caffemodel.h5");
    Net other(slashes, {.dtype = dtype, .seed = 8});
    CHECK(copy_weights(other, dir / "x.caffemodel.h5").kept.empty());
    CHECK(other.weights() == net.weights());
  }
  const Hdf5Reader in(dir / "x.caffemodel.h5");
  CHECK(in.names("data/a") == std::vector<std::string>{"0", "1", "1x1", "3x3"});
  CHECK(in.info("data/a/1x1/0").shape == Shape{3, 2});

  const auto refused = [&](auto&& fill) {
    {
      Hdf5Writer out(dir / "y.h5");
      fill(out);
      out.commit();
    }
    return trouble<Error>([&] {
      Net net(two_layers());
      copy_weights(net, dir / "y.h5");
    });
  };
  const std::string name = (dir / "y.h5").string();
  CHECK(refused([](Hdf5Writer&) {}) == name + ": \"data\": there is no such group; is this a model?");
  CHECK(refused([](Hdf5Writer& out) {
          out.write("data/ip1/x", Tensor({1}));
        }) == name + ": \"data/ip1/x\": is no number of a blob");
  CHECK(
      refused([](Hdf5Writer& out) { out.write("data/ip1/1", Tensor({3})); }) ==
      name +
          " does not fit net \"two\": blob 0 of layer \"ip1\" is missing there and \"ip1.weights\" is [3, 2] in "
          "the net\n  to train this layer from scratch, give it another name");
  CHECK(
      refused([](Hdf5Writer& out) {
        out.write("data/ip1/0", Tensor({3, 2}));
      }) ==
      name +
          " does not fit net \"two\": layer \"ip1\" has 1 blobs there and 2 parameters in the net\n  to train this "
          "layer from scratch, give it another name");
}

#endif
