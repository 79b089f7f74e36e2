// Nets that Caffe trained score here what they are known to score, to one of the last digit.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "examples/models/models.h"
#include "sparknet/sparknet.h"
#include "src/caffe/proto.h"
#include "tests/temp_dir.h"
#include "tests/test_data.h"

using namespace sparknet;
using namespace sparknet::caffe;

namespace {

struct Score {
  double accuracy = 0, loss = 0;
};

/// Over 100 batches of 100, the whole test set of MNIST and of CIFAR-10.
Score score(Net& net, SourcePtr source, const Transform& transform) {
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

namespace {

struct Known {
  const char* file;
  double accuracy, loss;
};

/// The net with the weights of a model, all of whose layers it has.
Net load(const NetParam& param, const std::filesystem::path& file) {
  Net net(param, {.phase = Phase::Test});
  const CopyReport report = copy_weights(net, file);
  CHECK(report.ignored.empty());
  CHECK(report.kept.empty());
  CHECK(report.copied.size() * 2 == net.params().size());
  return net;
}

void check_scores(
    const NetParam& param, const std::filesystem::path& folder, const SourcePtr& source, const Transform& transform,
    const std::vector<Known>& known) {
  for (const Known& model : known) {
    CAPTURE(model.file);
    Net net = load(param, folder / model.file);
    const Score s = score(net, source, transform);
    CHECK(s.accuracy == doctest::Approx(model.accuracy).epsilon(1e-6));
    const double last_digit = std::pow(10, std::floor(std::log10(model.loss)) - 5);  // of the six that Caffe prints
    CAPTURE(s.loss);
    CHECK(std::abs(s.loss - model.loss) < 1.5 * last_digit);
  }
}

std::string read_all(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::filesystem::path> files_with(const std::filesystem::path& folder, const std::string& extension) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == extension) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  REQUIRE(!files.empty());
  return files;
}

/// The numbers of a .npy of f32, which has a header of 128 bytes.
Tensor read_npy(const std::filesystem::path& file, const Shape& shape) {
  std::string content = read_all(file);
  Tensor values(shape);
  REQUIRE(content.size() == 128 + values.bytes());
  std::copy(content.begin() + 128, content.end(), reinterpret_cast<char*>(values.raw()));
  return values;
}

Transform cifar_transform(const std::filesystem::path& cifar) {
  return {.mean = read_blob(cifar / "mean.binaryproto").reshape({3, 32, 32})};
}

}  // namespace

TEST_SUITE("data") {
  TEST_CASE("Caffe's files are written back byte for byte") {
    const auto models = test_data("caffe_examples"), today = test_data("lenet_v2"), cifar = test_data("cifar10");
    if (!models || !today || !cifar) return;
    const TempDir dir;
    const auto check = [&](const std::filesystem::path& file, google::protobuf::Message&& message) {
      CAPTURE(file.string());
      read_message(file, message);
      write_message(dir / "copy", message);
      CHECK(read_all(dir / "copy") == read_all(file));
    };
    for (const auto& folder : {*models, *today})
      for (const auto& file : files_with(folder, ".caffemodel")) check(file, proto::NetParameter());
    for (const auto& file : files_with(*models, ".solverstate")) check(file, proto::SolverState());

    const Tensor mean = read_blob(*cifar / "mean.binaryproto");
    CHECK(mean.shape() == Shape{1, 3, 32, 32});
    write_blob(dir / "mean", mean);
    CHECK(read_all(dir / "mean") == read_all(*cifar / "mean.binaryproto"));
  }

  TEST_CASE("Caffe's models are written as today's and as HDF5, and read again") {
    const auto models = test_data("caffe_examples");
    if (!models) return;
    const TempDir dir;
    const Net net = load(cifar10_full(), *models / "cifar10_full_iter_70000.caffemodel");
    for (const char* name : {"copy.caffemodel", "copy.caffemodel.h5"}) {
#ifndef SPARKNET_WITH_HDF5
      if (std::string(name).ends_with(".h5")) continue;
#endif
      write_model(net, dir / name);
      CHECK(load(cifar10_full(), dir / name).weights() == net.weights());
    }
  }

  TEST_CASE("Caffe's models give the logits that others found") {
    const auto models = test_data("caffe_examples"), cifar = test_data("cifar10");
    if (!models || !cifar) return;
    const SourcePtr test_set = read_cifar10({*cifar / "test_batch.bin.gz"});
    const auto check = [&](const NetParam& param, const char* model, const char* blob) {
      Net net = load(param, *models / (std::string(model) + ".caffemodel"));
      net.set_data(test_set, {.transforms = {{"data", cifar_transform(*cifar)}}, .random = false});
      net.forward();
      const Tensor known = read_npy(*models / (std::string(model) + ".ref_" + blob + "_test_first100.npy"), {100, 10});
      CHECK(equal(net.blob(blob), known, 1e-4));
    };
    check(example::cifar10_quick(100), "cifar10_quick_iter_5000", "ip2");
    check(cifar10_full(), "cifar10_full_iter_70000", "ip1");
  }

  TEST_CASE("Caffe's solver states go on here") {
    const auto models = test_data("caffe_examples");
    if (!models) return;
    const TempDir dir;
    for (const auto& file : files_with(*models, ".solverstate")) {
      CAPTURE(file.string());
      const std::string name = file.filename().string();
      const NetParam param = name.starts_with("lenet")           ? lenet()
                             : name.starts_with("cifar10_quick") ? example::cifar10_quick(100)
                                                                 : cifar10_full();
      Solver solver({.momentum = 0.9}, param);
      const std::filesystem::path model = std::filesystem::path(file).replace_extension(".caffemodel");
      const RestoreReport report = restore_state(solver, file, model);
      CHECK(solver.iteration() == report.iteration);
      CHECK(name.find("_iter_" + std::to_string(report.iteration) + ".") != std::string::npos);
      CHECK(report.weights.kept.empty());

      // The numbers of the file, through the solver and back.
      save_state(solver, dir / "copy", "weights");
      proto::SolverState before, after;
      read_message(file, before);
      read_message(dir / "copy", after);
      CHECK(after.iter() == before.iter());
      CHECK(after.learned_net() == "weights");
      REQUIRE(after.history_size() == before.history_size());
      for (int i = 0; i < after.history_size(); ++i)
        CHECK(std::equal(
            after.history(i).data().begin(),
            after.history(i).data().end(),
            before.history(i).data().begin(),
            before.history(i).data().end()));
    }
    // Where it is written to be, "examples/mnist", there is nothing; it lies beside the state.
    Solver solver({.momentum = 0.9}, lenet());
    CHECK(
        restore_state(solver, *models / "lenet_iter_5000.solverstate").model == *models / "lenet_iter_5000.caffemodel");
  }
}

TEST_SUITE("slow") {
  TEST_CASE("Caffe's LeNet") {
    const auto models = test_data("caffe_examples"), today = test_data("lenet_v2"), mnist = test_data("mnist");
    if (!models || !today || !mnist) return;
    const SourcePtr test_set = read_mnist_folder(*mnist, false);
    const Transform transform{.scale = 0.00390625};
    check_scores(
        lenet(),
        *models,
        test_set,
        transform,
        {{"lenet_iter_5000.caffemodel", 0.9893, 0.0310250}, {"lenet_iter_10000.caffemodel", 0.9905, 0.0291821}});
    check_scores(lenet(), *today, test_set, transform, {{"lenet_iter_10000.caffemodel", 0.9905, 0.0297565}});
  }

  TEST_CASE("Caffe's nets for CIFAR-10") {
    const auto models = test_data("caffe_examples"), cifar = test_data("cifar10");
    if (!models || !cifar) return;
    const SourcePtr test_set = read_cifar10({*cifar / "test_batch.bin.gz"});
    const Transform transform = cifar_transform(*cifar);
    check_scores(
        example::cifar10_quick(100),
        *models,
        test_set,
        transform,
        {{"cifar10_quick_iter_4000.caffemodel", 0.6854, 0.937706},
         {"cifar10_quick_iter_5000.caffemodel", 0.7491, 0.748170}});
    check_scores(
        cifar10_full(),
        *models,
        test_set,
        transform,
        {{"cifar10_full_iter_60000.caffemodel", 0.7942, 0.614837},
         {"cifar10_full_iter_65000.caffemodel", 0.8178, 0.527343},
         {"cifar10_full_iter_70000.caffemodel", 0.8211, 0.518353}});
  }
}
