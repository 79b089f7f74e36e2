// Nets that Caffe trained score here what they score in Caffe, to the last digit of its logs.
#include <doctest/doctest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>

#include "sparknet/sparknet.h"
#include "tests/test_data.h"

using namespace sparknet;

namespace {

/// The bytes of a protocol buffer, as far as Caffe's models need them: numbered fields, each with bytes or nothing
/// here.
class Message {
 public:
  explicit Message(std::string_view bytes) : rest_(bytes) {}

  /// The next field with bytes of its own; false at the end.
  bool next(std::uint64_t& number, std::string_view& bytes) {
    while (!rest_.empty()) {
      const std::uint64_t key = varint();
      number = key >> 3;
      switch (key & 7) {
        case 0: varint(); break;
        case 1: take(8); break;
        case 2: bytes = take(varint()); return true;
        case 5: take(4); break;
        default: throw std::runtime_error("no protocol buffer");
      }
    }
    return false;
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= std::uint64_t{byte & 127U} << shift;
      if (byte < 128) return value;
    }
  }
  std::string_view take(std::uint64_t size) {
    if (size > rest_.size()) throw std::runtime_error("a protocol buffer is cut off");
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  std::string_view rest_;
};

std::string read(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The numbers of a BlobProto: its packed field 5.
void copy_blob(std::string_view blob, Tensor target) {
  Message message(blob);
  std::uint64_t number;
  for (std::string_view bytes; message.next(number, bytes);) {
    if (number != 5) continue;
    REQUIRE(bytes.size() == target.bytes());
    std::memcpy(target.raw(), bytes.data(), bytes.size());
    return;
  }
  FAIL("a blob has no data");
}

/// The weights of a model in Caffe's V1 format: field 2 is a layer, whose field 4 is its name and fields 6 its blobs.
WeightCollection read_weights(const std::filesystem::path& file, const Net& net) {
  const std::string content = read(file);
  WeightCollection weights = net.weights();
  std::size_t copied = 0;
  Message model(content);
  std::uint64_t number;
  for (std::string_view layer; model.next(number, layer);) {
    if (number != 2) continue;
    std::string_view name;
    std::vector<std::string_view> blobs;
    Message parts(layer);
    for (std::string_view part; parts.next(number, part);) {
      if (number == 4) name = part;
      if (number == 6) blobs.push_back(part);
    }
    for (std::size_t i = 0; i < blobs.size(); ++i, ++copied) copy_blob(blobs[i], weights[name].at(i));
  }
  REQUIRE(copied == weights.layout().size());
  return weights;
}

struct Score {
  double accuracy = 0, loss = 0;
};

/// Over 100 batches of 100, the whole test set of MNIST and of CIFAR-10.
Score score(const NetParam& param, const std::filesystem::path& model, SourcePtr source, const Transform& transform) {
  Net net(param, {.phase = Phase::Test});
  net.set_weights(read_weights(model, net));
  net.set_data(std::move(source), {.transforms = {{"data", transform}}, .random = false});
  Score score;
  for (int batch = 0; batch < 100; ++batch) {
    score.loss += net.forward() / 100;
    score.accuracy += static_cast<double>(net.blob("accuracy").get<float>(0)) / 100;
  }
  return score;
}

// clang-format off
NetParam lenet() {
  return NetParam("LeNet",
      RDDLayer{"data", {100, 1, 28, 28}},
      RDDLayer{"label", {100, 1}},
      ConvolutionLayer{"conv1", {"data"}, {.kernel = 5, .num_output = 20}},
      PoolingLayer{"pool1", {"conv1"}, {.kernel = 2, .stride = 2}},
      ConvolutionLayer{"conv2", {"pool1"}, {.kernel = 5, .num_output = 50}},
      PoolingLayer{"pool2", {"conv2"}, {.kernel = 2, .stride = 2}},
      InnerProductLayer{"ip1", {"pool2"}, {.num_output = 500}},
      ReLULayer{"relu1", {"ip1"}},
      InnerProductLayer{"ip2", {"relu1"}, {.num_output = 10}},
      AccuracyLayer{"accuracy", {"ip2", "label"}},
      SoftmaxWithLoss{"loss", {"ip2", "label"}});
}

NetParam cifar10_quick() {
  return NetParam("CIFAR10_quick",
      RDDLayer{"data", {100, 3, 32, 32}},
      RDDLayer{"label", {100, 1}},
      ConvolutionLayer{"conv1", {"data"}, {.kernel = 5, .num_output = 32, .pad = 2}},
      PoolingLayer{"pool1", {"conv1"}, {.kernel = 3, .stride = 2}},
      ReLULayer{"relu1", {"pool1"}},
      ConvolutionLayer{"conv2", {"relu1"}, {.kernel = 5, .num_output = 32, .pad = 2}},
      ReLULayer{"relu2", {"conv2"}},
      PoolingLayer{"pool2", {"relu2"}, {.pooling = Pooling::Ave, .kernel = 3, .stride = 2}},
      ConvolutionLayer{"conv3", {"pool2"}, {.kernel = 5, .num_output = 64, .pad = 2}},
      ReLULayer{"relu3", {"conv3"}},
      PoolingLayer{"pool3", {"relu3"}, {.pooling = Pooling::Ave, .kernel = 3, .stride = 2}},
      InnerProductLayer{"ip1", {"pool3"}, {.num_output = 64}},
      InnerProductLayer{"ip2", {"ip1"}, {.num_output = 10}},
      AccuracyLayer{"accuracy", {"ip2", "label"}},
      SoftmaxWithLoss{"loss", {"ip2", "label"}});
}

NetParam cifar10_full() {
  const LRNOptions norm{.local_size = 3, .alpha = 5e-5, .beta = 0.75, .norm_region = NormRegion::WithinChannel};
  return NetParam("CIFAR10_full",
      RDDLayer{"data", {100, 3, 32, 32}},
      RDDLayer{"label", {100, 1}},
      ConvolutionLayer{"conv1", {"data"}, {.kernel = 5, .num_output = 32, .pad = 2}},
      PoolingLayer{"pool1", {"conv1"}, {.kernel = 3, .stride = 2}},
      ReLULayer{"relu1", {"pool1"}},
      LRNLayer{"norm1", {"relu1"}, norm},
      ConvolutionLayer{"conv2", {"norm1"}, {.kernel = 5, .num_output = 32, .pad = 2}},
      ReLULayer{"relu2", {"conv2"}},
      PoolingLayer{"pool2", {"relu2"}, {.pooling = Pooling::Ave, .kernel = 3, .stride = 2}},
      LRNLayer{"norm2", {"pool2"}, norm},
      ConvolutionLayer{"conv3", {"norm2"}, {.kernel = 5, .num_output = 64, .pad = 2}},
      ReLULayer{"relu3", {"conv3"}},
      PoolingLayer{"pool3", {"relu3"}, {.pooling = Pooling::Ave, .kernel = 3, .stride = 2}},
      InnerProductLayer{"ip1", {"pool3"}, {.num_output = 10}},
      AccuracyLayer{"accuracy", {"ip1", "label"}},
      SoftmaxWithLoss{"loss", {"ip1", "label"}});
}
// clang-format on

}  // namespace

TEST_SUITE("slow") {
  TEST_CASE("Caffe's LeNet") {
    const auto models = test_data("caffe_examples"), mnist = test_data("mnist");
    if (!models || !mnist) return;
    const Score s = score(
        lenet(),
        *models / "lenet_iter_10000.caffemodel",
        read_mnist_folder(*mnist, false),
        {.scale = 0.00390625});
    CHECK(s.accuracy == doctest::Approx(0.9905).epsilon(1e-6));
    CHECK(s.loss == doctest::Approx(0.0291821).epsilon(1e-5));
  }

  TEST_CASE("Caffe's nets for CIFAR-10") {
    const auto models = test_data("caffe_examples"), cifar = test_data("cifar10");
    if (!models || !cifar) return;
    const SourcePtr test_set = read_cifar10({*cifar / "test_batch.bin.gz"});
    Tensor mean({3, 32, 32});
    copy_blob(read(*cifar / "mean.binaryproto"), mean);
    const Score quick =
        score(cifar10_quick(), *models / "cifar10_quick_iter_5000.caffemodel", test_set, {.mean = mean});
    CHECK(quick.accuracy == doctest::Approx(0.7491).epsilon(1e-6));
    CHECK(quick.loss == doctest::Approx(0.748170).epsilon(1e-5));
    const Score full = score(cifar10_full(), *models / "cifar10_full_iter_70000.caffemodel", test_set, {.mean = mean});
    CHECK(full.accuracy == doctest::Approx(0.8211).epsilon(1e-6));
    CHECK(full.loss == doctest::Approx(0.518353).epsilon(1e-5));
  }
}
