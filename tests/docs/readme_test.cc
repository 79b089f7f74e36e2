// The code of README.md: compiled here, run below, and held equal to the text by tests/docs/check_snippets.cmake.
#include <doctest/doctest.h>

#include <cstdio>
#include <string>

// snippet: net
#include <sparknet/sparknet.h>

using namespace sparknet;

NetParam lenet(Dim batch) {
  return NetParam(
      "LeNet",
      RDDLayer{"data", {batch, 1, 28, 28}},
      RDDLayer{"label", {batch, 1}},
      ConvolutionLayer{"conv1", {"data"}, {.kernel = {5, 5}, .num_output = 20}},
      PoolingLayer{"pool1", {"conv1"}, {.pooling = Pooling::Max, .kernel = {2, 2}, .stride = {2, 2}}},
      ConvolutionLayer{"conv2", {"pool1"}, {.kernel = {5, 5}, .num_output = 50}},
      PoolingLayer{"pool2", {"conv2"}, {.pooling = Pooling::Max, .kernel = {2, 2}, .stride = {2, 2}}},
      InnerProductLayer{"ip1", {"pool2"}, {.num_output = 500}},
      ReLULayer{"relu1", {"ip1"}},
      InnerProductLayer{"ip2", {"relu1"}, {.num_output = 10}},
      SoftmaxWithLoss{"loss", {"ip2", "label"}});
}
// end

// snippet: train
void train(const std::string& folder) {
  Solver solver(
      {.base_lr = 0.01,
       .lr_policy = lr_policy::Inv{.gamma = 0.0001, .power = 0.75},
       .momentum = 0.9,
       .weight_decay = 0.0005},
      lenet(64));
  solver.set_training_data(read_mnist_folder(folder, true), {.transforms = {{"data", {.scale = 1.0 / 256}}}});
  for (int i = 0; i < 10; ++i) std::printf("loss %.4f\n", solver.step(100));
  solver.snapshot("lenet.snap");  // restore() goes on from here, bit for bit
}
// end

#include "tests/temp_dir.h"
#include "tests/test_data.h"

TEST_SUITE("slow") {
  TEST_CASE("the README's program trains") {
    const auto mnist = test_data("mnist");
    if (!mnist) return;
    const TempDir dir;
    const auto before = std::filesystem::current_path();
    std::filesystem::current_path(dir.path());
    train(mnist->string());
    std::filesystem::current_path(before);

    Solver solver({.momentum = 0.9}, lenet(64));
    solver.restore(dir / "lenet.snap");
    CHECK(solver.iteration() == 1000);
    Net test(lenet(100), {.phase = Phase::Test}, solver.net());
    test.set_data(read_mnist_folder(*mnist, false), {.transforms = {{"data", {.scale = 1.0 / 256}}}});
    double loss = 0;
    for (int i = 0; i < 100; ++i) loss += test.forward() / 100;
    CHECK(loss < 0.15);
  }
}
