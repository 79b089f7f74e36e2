// As many members as there are GPUs, each on a thread; without one, that this is said.
#include "sparknet/distributed/nccl.h"

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <cstdio>
#include <limits>
#include <vector>

#include "sparknet/distributed/averaging_solver.h"
#include "sparknet/distributed/workers.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/softmax_with_loss.h"

using namespace sparknet;

namespace {

int gpus() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

/// Calls `work` with each member of a group of all GPUs; false, and says so, where there is none.
bool on_gpus(const std::function<void(Communicator&)>& work) {
  const int count = gpus();
  if (count == 0) {
    std::printf("skipped: there is no GPU\n");
    return false;
  }
  const NcclId id = make_nccl_id();
  in_parallel(count, [&](int rank) {
    work(*nccl_communicator(id, rank, count, rank, {.timeout = std::chrono::seconds(60)}));
  });
  return true;
}

Tensor filled(DType dtype, double value) {
  Tensor values(Shape{1000}, dtype);
  return values.fill(value);
}

}  // namespace

TEST_CASE("NCCL without a GPU says what is missing") {
  if (gpus() > 0) {
    std::printf("skipped: there is a GPU\n");
    return;
  }
  CHECK_THROWS_WITH_AS(
      nccl_communicator(NcclId{}, 0, 1, 0),
      doctest::Contains("NCCL needs a GPU, and there is none: "),
      DeviceError);
}

TEST_CASE("sums and means over GPUs, from the memory of the CPU") {
  on_gpus([](Communicator& group) {
    for (const DType dtype : {DType::F32, DType::F64}) {
      const int size = group.size();
      Tensor sum = filled(dtype, group.rank() + 1);
      group.all_reduce_sum(sum);
      CHECK(sum == filled(dtype, size * (size + 1) / 2.0));

      const bool hidden = size > 1 && group.rank() == 0;
      Tensor mean = filled(dtype, hidden ? std::numeric_limits<double>::quiet_NaN() : 3);
      group.all_reduce_mean(mean, hidden ? 0 : 0.5, 2);
      CHECK(mean == filled(dtype, 0.75 * (size > 1 ? size - 1 : 1)));

      Tensor sent = filled(dtype, group.rank());
      group.broadcast(sent, size - 1);
      CHECK(sent == filled(dtype, size - 1));
    }
    CHECK(static_cast<int>(group.barrier().present.size()) == group.size());
  });
}

TEST_CASE("sums over GPUs, where the tensor is") {
  on_gpus([](Communicator& group) {
    const Tensor ones = filled(DType::F32, 1);
    void* memory = nullptr;
    REQUIRE(cudaMalloc(&memory, ones.bytes()) == cudaSuccess);
    REQUIRE(cudaMemcpy(memory, ones.raw(), ones.bytes(), cudaMemcpyHostToDevice) == cudaSuccess);
    Tensor there = Tensor::borrow(memory, ones.shape(), DType::F32, Device::cuda(group.rank()));
    group.all_reduce_sum(there);
    Tensor back(ones.shape());
    REQUIRE(cudaMemcpy(back.raw(), memory, back.bytes(), cudaMemcpyDeviceToHost) == cudaSuccess);
    cudaFree(memory);
    CHECK(back == filled(DType::F32, group.size()));
  });
}

TEST_CASE("workers on GPUs average, and have gradients in common, as workers on the CPU do") {
  const int workers = gpus();
  const NetParam net(
      "small",
      RDDLayer{"data", {4, 6}},
      RDDLayer{"label", {4}},
      InnerProductLayer{"hidden", {"data"}, {.num_output = 7}},
      InnerProductLayer{"ip", {"hidden"}, {.num_output = 5}},
      SoftmaxWithLoss{"loss", {"ip", "label"}});
  const SolverParam param{.base_lr = 0.05, .momentum = 0.9, .max_iter = 20};
  Tensor data(Shape{96, 6}), label(Shape{96});
  for (Dim i = 0; i < 96; ++i) {
    for (Dim j = 0; j < 6; ++j) data.set<float>(static_cast<float>((i * 7 + j * 5) % 11), i, j);
    label.set<float>(static_cast<float>(i % 5), i);
  }
  const SourcePtr source = from_tensors({{"data", data}, {"label", label}});
  for (const bool in_common : {false, true}) {
    AveragingOptions options{.round = {.max_steps = 5}, .history = SolverHistory::Average};
    if (in_common) options.gradients = SharedGradients{.bucket_bytes = 128};
    const auto train = [&](Communicator& group, Device device) {
      AveragingSolver solver(
          param,
          net,
          group,
          options,
          {.dtype = DType::F64, .device = device, .tf32 = false, .threads = 1});
      solver.solve(source);
      return solver.weights();
    };
    std::vector<WeightCollection> expected(static_cast<std::size_t>(workers));
    if (workers > 0)
      run_on_threads(workers, [&](Communicator& group) {
        expected[static_cast<std::size_t>(group.rank())] = train(group, Device::cpu());
      });
    on_gpus([&](Communicator& group) {
      CHECK(group.reaches(Device::cuda(group.rank())));
      CHECK(equal(train(group, Device::cuda(group.rank())), expected[static_cast<std::size_t>(group.rank())], 1e-8));
    });
  }
}

TEST_CASE("what is wrong with a group of GPUs is said") {
  on_gpus([](Communicator& group) {
    Tensor integers(Shape{3}, DType::I32);
    CHECK_THROWS_AS(group.all_reduce_sum(integers), DTypeError);
    Tensor values(Shape{3});
    CHECK_THROWS_AS(group.broadcast(values, group.size()), Error);
  });
  if (gpus() == 0) return;
  CHECK_THROWS_AS(nccl_communicator(make_nccl_id(), 0, 1, gpus()), DeviceError);
  // The second member never comes.
  CHECK_THROWS_WITH_AS(
      nccl_communicator(make_nccl_id(), 0, 2, 0, {.timeout = std::chrono::seconds(3)}),
      "member 0 of 2 waited 3 s for the other members: another one hangs or is gone",
      Error);
}
