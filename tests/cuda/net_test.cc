#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "sparknet/distributed/averaging_solver.h"
#include "sparknet/distributed/workers.h"
#include "sparknet/sparknet.h"
#include "src/cuda.h"
#include "tests/message_of.h"
#include "tests/nets.h"
#include "tests/place.h"
#include "tests/temp_dir.h"

// Nets on a GPU, or on what stands for one, beside the same nets on the CPU.

using namespace sparknet;
using namespace sparknet::testing;

namespace {

constexpr Device gpu = Device::cuda(0);

NetOptions on(Device device, DType dtype = DType::F64) {
  return {.dtype = dtype, .device = device, .tf32 = false, .threads = 1};
}

SourcePtr digits(Dim count = 24) {
  return random_examples(count, {1, 12, 12}, 3);
}

Solver solver_on(Device device, const NetParam& net, const SolverParam& param, DType dtype = DType::F64) {
  Solver solver(param, net, on(device, dtype));
  solver.set_training_data(digits());
  return solver;
}

NetParam net_with_everything(Dim batch) {
  return NetParam(
      "everything",
      RDDLayer{"data", {batch, 1, 12, 12}},
      RDDLayer{"label", {batch}},
      ConvolutionLayer{"conv", {"data"}, {.kernel = {3, 3}, .num_output = 6}},
      BatchNormLayer{"norm", {"conv"}},
      ScaleLayer{"scale", {"norm"}, {.bias = true}},
      ReLULayer{"relu", {"scale"}},
      PoolingLayer{"pool", {"relu"}, {.kernel = {2, 2}, .stride = {2, 2}}},
      LRNLayer{"lrn", {"pool"}},
      DropoutLayer{"drop", {"lrn"}, {.ratio = 0.3}},
      InnerProductLayer{"ip", {"drop"}, {.num_output = 5}},
      SoftmaxWithLoss{"loss", {"ip", "label"}});
}

std::vector<double> losses(Solver& solver, int steps) {
  std::vector<double> all;
  for (int i = 0; i < steps; ++i) all.push_back(solver.step());
  return all;
}

double worst(const std::vector<double>& a, const std::vector<double>& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

}  // namespace

TEST_CASE("a net says where it runs") {
  const Net net(small_lenet(4), on(gpu));
  CHECK(net.param_arena().device() == gpu);
  CHECK(net.summary().find("cuda:0 ") != std::string::npos);
}

TEST_CASE("training is the same as on the CPU, step by step") {
  const SolverParam plain{.base_lr = 0.05, .momentum = 0.9, .weight_decay = 0.01};
  SolverParam clipped = plain, adam_rule{.base_lr = 0.01, .rule = adam()}, passes = plain, policy = plain;
  clipped.clip_gradients = 0.1;
  passes.iter_size = 3;
  policy.lr_policy = lr_policy::Inv{.gamma = 0.1, .power = 0.75};
  for (const NetParam& net : {small_lenet(4), net_with_everything(4), branching_net(4)})
    for (const SolverParam& param : {plain, clipped, adam_rule, passes, policy}) {
      CAPTURE(net.name);
      Solver here(param, net, on(Device::cpu())), there(param, net, on(gpu));
      for (Solver* solver : {&here, &there}) {
        const Shape data = infer_shapes(net, Phase::Train)[0].top_shapes[0];
        solver->set_training_data(random_examples(24, Shape(std::span<const Dim>(data.begin() + 1, data.end())), 3));
      }
      CHECK(worst(losses(here, 12), losses(there, 12)) < 1e-9);
      // Steps that are asked for together.
      CHECK(here.step(9) == doctest::Approx(there.step(9)).epsilon(1e-9));
      CHECK(equal(here.net().weights().arena(), there.net().weights().arena(), 1e-8));
    }
}

TEST_CASE("a hundred iterations in f32 stay near those of the CPU") {
  const SolverParam param{.base_lr = 0.02, .momentum = 0.9, .weight_decay = 0.0005};
  Solver here = solver_on(Device::cpu(), small_lenet(8), param, DType::F32);
  Solver there = solver_on(gpu, small_lenet(8), param, DType::F32);
  CHECK(worst(losses(here, 100), losses(there, 100)) < 1e-3);
}

TEST_CASE("blobs, gradients, inputs and weights come and go") {
  Net here(branching_net(3), on(Device::cpu())), there(branching_net(3), on(gpu));
  for (const InferredLayer& layer : infer_shapes(here.param(), Phase::Train)) {
    if (layer.param.make()) continue;
    for (std::size_t i = 0; i < layer.tops.size(); ++i) {
      Tensor values(layer.top_shapes[i], DType::F32);
      for (Dim at = 0; at < values.count(); ++at) values.flatten().set<float>(static_cast<float>(at * 7 % 5), at);
      here.set_input(layer.tops[i], values);
      there.set_input(layer.tops[i], values);
    }
  }
  there.set_weights(here.weights());
  CHECK(equal(there.weights().arena(), here.weights().arena()));
  CHECK(here.forward() == doctest::Approx(there.forward()));
  here.backward();
  there.backward();
  for (const std::string& name : here.outputs()) {
    CHECK(there.blob(name).device() == Device::cpu());
    CHECK(equal(here.blob(name), there.blob(name), 1e-10));
  }
  there.clear_gradients();
  CHECK(here.forward() == doctest::Approx(there.forward()));
}

TEST_CASE("a frozen net gives the same loss, before and after its weights were set") {
  const NetParam param = net_with_everything(4);
  Solver solver = solver_on(Device::cpu(), param, {.base_lr = 0.05});
  NetOptions options = on(Device::cpu());
  options.phase = Phase::Test;
  Net here(param, options);
  options.device = gpu;
  options.freeze = true;
  Net there(param, options);
  CHECK(there.summary().find("fused into conv") != std::string::npos);
  for (int i = 0; i < 3; ++i) {
    solver.step(5);
    for (Net* const net : {&here, &there}) {
      net->set_weights(solver.net().weights());
      net->set_data(digits());
    }
    for (int pass = 0; pass < 2; ++pass) CHECK(there.forward() == doctest::Approx(here.forward()).epsilon(1e-10));
  }
}

TEST_CASE("a label that is none is said, and that step and those behind it change nothing") {
  const SolverParam param{.base_lr = 0.05, .momentum = 0.9};
  Tensor labels({24}, DType::F32);
  for (Dim i = 0; i < 24; ++i) labels.set<float>(i == 13 ? 7.0F : static_cast<float>(i % 5), i);
  Tensor images({24, 1, 12, 12}, DType::F32);
  const SourcePtr source = from_tensors({{"data", images}, {"label", labels}});
  const auto run = [&](Device device, bool together) {
    Solver solver(param, small_lenet(4), on(device));
    solver.set_training_data(source);
    const auto steps = [&] {
      if (together)
        solver.step(6);
      else
        losses(solver, 6);
    };
    const std::string message = message_of(steps);
    CHECK(solver.iteration() == 3);
    return std::pair(message, solver.net().weights());
  };
  const auto [expected, weights] = run(Device::cpu(), false);
  CHECK(expected.find("the label of example 1 is 7") != std::string::npos);
  for (const bool together : {false, true}) {
    const auto [message, found] = run(gpu, together);
    CHECK(message == expected);
    CHECK(equal(found.arena(), weights.arena(), 1e-10));
  }
}

TEST_CASE("a test, a snapshot and going on from it") {
  const TempDir folder;
  const SolverParam param{.base_lr = 0.05, .momentum = 0.9, .test_iter = 3};
  Solver first = solver_on(gpu, net_with_everything(4), param), again = solver_on(gpu, net_with_everything(4), param);
  Solver here = solver_on(Device::cpu(), net_with_everything(4), param);
  for (Solver* solver : {&first, &here}) {
    solver->set_test_data(digits());
    solver->step(7);
  }
  CHECK(first.test()[0].value == doctest::Approx(here.test()[0].value));
  first.snapshot(folder.path() / "7.snap");
  again.restore(folder.path() / "7.snap");
  CHECK(again.step(5) == first.step(5));
  CHECK(equal(again.net().weights().arena(), first.net().weights().arena()));
  // And on another device.
  here.restore(folder.path() / "7.snap");
  here.step(5);
  CHECK(equal(here.net().weights().arena(), first.net().weights().arena(), 1e-8));
}

TEST_CASE("workers on a GPU and on the CPU average as workers on the CPU do") {
  const SolverParam param{.base_lr = 0.05, .momentum = 0.9, .max_iter = 12};
  for (const SolverHistory history : {SolverHistory::Keep, SolverHistory::Average, SolverHistory::Reset}) {
    const auto train = [&](std::vector<Device> devices) {
      Tensor found;
      run_on_threads(static_cast<int>(devices.size()), [&](Communicator& group) {
        AveragingSolver solver(
            param,
            net_with_everything(4),
            group,
            {.round = {.max_steps = 3}, .history = history},
            on(devices[static_cast<std::size_t>(group.rank())]));
        solver.solve(digits());
        if (group.rank() == 0) found = solver.weights().arena().copy();
      });
      return found;
    };
    const Tensor expected = train({Device::cpu(), Device::cpu()});
    CHECK(equal(train({gpu, Device::cpu()}), expected, 1e-8));
    CHECK(equal(train({Device::cpu(), gpu}), expected, 1e-8));
  }
}

namespace {

/// A group whose exchanges reach a GPU, as NCCL's do: here by another way to its memory.
class Reaching final : public Communicator {
 public:
  Reaching(Communicator& group, Device device)
      : group_(group), device_(device), backend_(make_cuda_backend({.device = device.index})) {}

  int rank() const override { return group_.rank(); }
  int size() const override { return group_.size(); }
  void broadcast(Tensor& values, int root) override { group_.broadcast(values, root); }
  void all_reduce_sum(Tensor& values) override { group_.all_reduce_sum(values); }
  void all_reduce_mean(Tensor& values, double scale, double divisor) override {
    if (values.device() == Device::cpu()) return group_.all_reduce_mean(values, scale, divisor);
    ++reached;
    Tensor here(values.shape(), values.dtype());
    backend_->read(here.raw(), values.raw(), here.bytes());
    group_.all_reduce_mean(here, scale, divisor);
    backend_->write(values.raw(), here.raw(), here.bytes());
  }
  bool reaches(Device device) const override { return device == Device::cpu() || device == device_; }

  std::atomic<int> reached = 0;

 private:
  Communicator& group_;
  Device device_;
  std::shared_ptr<kernels::Backend> backend_;
};

}  // namespace

TEST_CASE("weights and history are averaged where they are, where the group reaches them") {
  const SolverParam param{.base_lr = 0.05, .momentum = 0.9, .max_iter = 12};
  const TempDir folder;
  for (const SolverHistory history : {SolverHistory::Keep, SolverHistory::Average, SolverHistory::Reset})
    for (const bool spoils : {false, true}) {
      const auto train = [&](Device device, bool reaches) {
        Tensor found;
        run_on_threads(2, [&](Communicator& threads) {
          Reaching group(threads, gpu);
          AveragingSolver solver(
              param,
              net_with_everything(4),
              reaches ? group : threads,
              {.round = {.max_steps = 3}, .history = history},
              on(device));
          solver.set_training_data(digits());
          for (int round = 0; round < 4; ++round) {
            if (spoils && round == 1 && threads.rank() == 1) {
              WeightCollection weights = solver.weights();
              weights["norm"][0].fill(std::numeric_limits<double>::infinity());  // which leaves the loss alone
              solver.solver().net().set_weights(weights);
            }
            CHECK(solver.round().rejected == (spoils && round == 1 ? 1 : 0));
            // What a snapshot holds is what a restored group goes on with.
            if (round != 2) continue;
            const auto file = folder / "group.snap";
            solver.snapshot(file);
            group.barrier();
            solver.restore(file);
          }
          const int tensors = history == SolverHistory::Average ? 2 : 1;
          CHECK(group.reached == (reaches ? 4 * tensors : 0));
          if (threads.rank() == 0) found = solver.weights().arena().copy();
        });
        return found;
      };
      const Tensor expected = train(Device::cpu(), false);
      CHECK(equal(train(gpu, false), expected, 1e-8));
      CHECK(equal(train(gpu, true), expected, 1e-8));
    }
}

TEST_CASE("workers on a GPU and on the CPU have gradients in common as workers on the CPU do") {
  const SolverParam param{.base_lr = 0.01, .rule = adam(), .max_iter = 12, .iter_size = 2};
  const auto train = [&](std::vector<Device> devices, bool overlap, bool reaches) {
    Tensor found;
    run_on_threads(static_cast<int>(devices.size()), [&](Communicator& threads) {
      const Device device = devices[static_cast<std::size_t>(threads.rank())];
      Reaching group(threads, gpu);
      AveragingSolver solver(
          param,
          net_with_everything(4),
          reaches ? group : threads,
          {.round = {.max_steps = 6}, .gradients = SharedGradients{.bucket_bytes = 512, .overlap = overlap}},
          on(device));
      solver.solve(digits());
      CHECK((group.reached > 0) == (reaches && device == gpu));
      if (threads.rank() == 0) found = solver.weights().arena().copy();
    });
    return found;
  };
  const Tensor expected = train({Device::cpu(), Device::cpu()}, true, false);
  for (const bool overlap : {true, false})
    for (const bool reaches : {true, false}) {
      CHECK(equal(train({gpu, Device::cpu()}, overlap, reaches), expected, 1e-8));
      CHECK(equal(train({Device::cpu(), gpu}, overlap, reaches), expected, 1e-8));
    }
}

TEST_CASE("a worker on a GPU whose labels are none does not spoil the gradients of the others") {
  Tensor images({24, 1, 12, 12}, DType::F32), labels({24}, DType::F32);
  labels.set<float>(7, 13);
  const SourcePtr source = from_tensors({{"data", images}, {"label", labels}});
  std::vector<std::string> said(2);
  CHECK_THROWS(run_on_threads(2, [&](Communicator& group) {
    const Device device = group.rank() == 0 ? Device::cpu() : gpu;
    AveragingSolver solver(
        {.base_lr = 0.05, .max_iter = 12},
        small_lenet(4),
        group,
        {.gradients = SharedGradients{}},
        on(device));
    solver.solver().set_training_data(group.rank() == 0 ? digits() : source);
    said[static_cast<std::size_t>(group.rank())] = message_of([&] { solver.solve(); });
    CHECK(solver.solver().iteration() == 3);
    const Tensor weights = solver.solver().net().weights().arena();
    for (const double weight : weights.span<double>()) CHECK_UNARY(std::isfinite(weight));
    throw Error("the end");
  }));
  CHECK(said[0].find("another worker has left the group") != std::string::npos);
  CHECK(said[1].find("the label of example 1 is 7") != std::string::npos);
}

TEST_CASE("batches that are sent one behind the other arrive in order") {
  const auto backend = test::make_gpu_backend();
  const auto lazy = make_cuda_backend({});
  for (kernels::Backend* const place : {backend.get(), lazy.get()}) {
    constexpr std::size_t kBytes = 64 * sizeof(float);
    const auto upload = place->upload(kBytes);
    const auto download = place->download(kBytes, 5);
    auto* const memory = static_cast<float*>(place->allocate(kBytes));
    auto* const veto = static_cast<kernels::Index*>(place->allocate(sizeof(kernels::Index)));
    const auto set_veto = [&](kernels::Index value) { place->write(veto, &value, sizeof value); };
    set_veto(-1);
    for (int i = 0; i < 5; ++i) {
      std::fill_n(static_cast<float*>(upload->buffer()), 64, static_cast<float>(i));
      upload->send(memory, veto);
      download->start(memory);
    }
    for (int i = 0; i < 5; ++i) CHECK(static_cast<const float*>(download->finish())[63] == static_cast<float>(i));
    set_veto(2);
    std::fill_n(static_cast<float*>(upload->buffer()), 64, 9.0F);
    upload->send(memory, veto);
    float last = 0;
    place->read(&last, memory + 63, sizeof last);
    CHECK(last == 4);

    constexpr float kMean[] = {1, 2};
    const kernels::ByteBatch batch{
        .examples = 2,
        .channels = 2,
        .width = 3,
        .scale = 2,
        .mean = kMean,
        .mean_count = 2,
        .mean_steps = {1, 0, 0}};
    const auto bytes = place->upload(batch);
    for (int i = 0; i < 5; ++i) {
      set_veto(i == 3 ? 2 : -1);
      std::fill_n(static_cast<std::uint8_t*>(bytes->buffer()), batch.count(), static_cast<std::uint8_t>(10 + i));
      bytes->send(memory, veto);
      place->read(&last, memory + 11, sizeof last);
      CHECK(last == 2.0F * static_cast<float>(8 + (i == 3 ? 2 : i)));
    }
    place->release(memory);
    place->release(veto);
  }
}

TEST_CASE("images of bytes become numbers on the GPU, with the bits of the CPU") {
  Tensor images({11, 3, 9, 8}, DType::U8), flags({11, 5}, DType::U8), labels({11}, DType::U8), mean({3, 9, 8});
  Random random(4);
  for (Tensor* const bytes : {&images, &flags, &labels})
    for (std::uint8_t& byte : bytes->span<std::uint8_t>()) byte = static_cast<std::uint8_t>(random.bits());
  for (float& value : mean.span<float>()) value = static_cast<float>(random.uniform(0, 255));
  Tensor flags_mean({5}, DType::F64);
  for (double& value : flags_mean.span<double>()) value = random.uniform(0, 255);
  const SourcePtr source = from_tensors({{"data", images}, {"flags", flags}, {"label", labels}});

  const Transform ways[] = {
      {},
      {.scale = 1 / 255.0},
      {.scale = 0.3, .mean_values = {100}, .crop = 7},
      {.mean_values = {100, 90.5, 80.1}, .mirror = true},
      {.scale = 0.7, .mean = mean},
      {.scale = 0.7, .mean = mean, .mirror = true},
      {.scale = 0.7, .mean = mean, .crop = 6, .mirror = true}};
  for (const DType dtype : {DType::F32, DType::F64})
    for (const Transform& way : ways)
      for (const bool drawn : {true, false}) {
        const Dim height = way.crop != 0 ? way.crop : 9, width = way.crop != 0 ? way.crop : 8;
        const NetParam param(
            "inputs",
            RDDLayer{"data", {4, 3, height, width}},
            RDDLayer{"flags", {4, 5}},
            RDDLayer{"label", {4}});
        const FeedOptions options{
            .shuffle = true,
            .seed = 3,
            .transforms = {{"data", way}, {"flags", {.scale = 3, .mean = flags_mean}}},
            .random = drawn};
        Net here(param, on(Device::cpu(), dtype)), there(param, on(gpu, dtype));
        here.set_data(source, options);
        there.set_data(source, options);
        for (int batch = 0; batch < 5; ++batch) {
          here.forward();
          there.forward();
          for (const char* const name : {"data", "flags", "label"}) CHECK_UNARY(here.blob(name) == there.blob(name));
        }
      }
}

TEST_CASE("images of bytes take two buffers of bytes on the GPU") {
  const Dim count = 16 * 3 * 256 * 256;
  const NetParam param("inputs", RDDLayer{"data", {16, 3, 256, 256}});
  const auto taken = [&](DType dtype) {
    Net net(param, on(gpu, DType::F32));
    const std::size_t before = cuda_devices()[0].free_bytes;
    net.set_data(from_tensors({{"data", Tensor({16, 3, 256, 256}, dtype)}}));
    return static_cast<Dim>(before - cuda_devices()[0].free_bytes);
  };
  CHECK(taken(DType::F32) >= 8 * count);
  CHECK(taken(DType::U8) < 3 * count);
}

TEST_CASE("a step in which a layer waits is not repeated as a whole") {
  const NetParam net(
      "dummies",
      DummyDataLayer{"data", {.data_filler = {Filler::gaussian(0, 1)}, .shape = {{4, 3}}}},
      DummyDataLayer{"target", {.data_filler = {Filler::gaussian(0, 1)}, .shape = {{4, 2}}}},
      InnerProductLayer{"ip", {"data"}, {.num_output = 2}},
      EuclideanLoss{"loss", {"ip", "target"}});
  const SolverParam param{.base_lr = 0.05, .momentum = 0.9};
  Solver here(param, net, on(Device::cpu())), there(param, net, on(gpu));
  CHECK(worst(losses(here, 8), losses(there, 8)) < 1e-9);
}

TEST_CASE("a feed that fails, and labels that are none before it") {
  Tensor images({24, 1, 12, 12}, DType::F32), labels({24}, DType::F32);
  for (const bool has_bad_label : {false, true}) {
    const auto fill = [&](Dim index, std::span<std::byte* const> out) {
      if (index == 17) throw DataError("digits", -1, "example 17 is not there");
      std::memcpy(out[0], images.raw() + index * 144 * 4, 144 * 4);
      const float label = has_bad_label && index == 13 ? 7 : 1;
      std::memcpy(out[1], &label, sizeof label);
    };
    const SourcePtr source = from_callback({{"data", {1, 12, 12}, DType::F32}, {"label", {1}, DType::F32}}, 24, fill);
    Solver solver({.base_lr = 0.05, .momentum = 0.9}, small_lenet(4), on(gpu));
    solver.set_training_data(source, {.prefetch = 0});
    const std::string wanted = has_bad_label ? "the label of example 1 is 7" : "example 17 is not there";
    CHECK(message_of([&] { solver.step(6); }).find(wanted) != std::string::npos);
    CHECK(solver.iteration() == (has_bad_label ? 3 : 4));
    // And training goes on, past what was refused.
    const Tensor before = solver.net().weights().arena();
    solver.set_training_data(from_tensors({{"data", images}, {"label", labels}}));
    solver.step();
    CHECK_FALSE(equal(solver.net().weights().arena(), before));
  }
}

TEST_CASE("a net is used in another thread than it was made in, on any GPU") {
  if (cuda_devices().size() < 2) return;
  const SolverParam param{.base_lr = 0.05, .momentum = 0.9};
  Solver here = solver_on(Device::cpu(), small_lenet(4), param),
         there = solver_on(Device::cuda(1), small_lenet(4), param);
  Net net(small_lenet(4), on(Device::cuda(1)));
  CHECK(net.summary().find("cuda:1 ") != std::string::npos);
  net.set_weights(here.net().weights());
  net.set_input("data", Tensor({4, 1, 12, 12}));
  net.set_input("label", Tensor({4, 1}));
  std::vector<double> found;
  double loss = 0;
  std::thread([&] {
    net.forward();
    net.backward();
    loss = net.forward();
    found = losses(there, 6);
  }).join();
  CHECK(worst(losses(here, 6), found) < 1e-9);
  CHECK(loss > 0);
  CHECK(equal(here.net().weights().arena(), there.net().weights().arena(), 1e-9));
}

TEST_CASE("a rule that throws leaves no update behind") {
  struct Failing final : UpdateRule {
    std::shared_ptr<const UpdateRule> rule = sgd(0.9);
    int pieces;
    mutable int seen = 0;
    explicit Failing(int fails_at) : pieces(fails_at) {}
    std::string_view name() const override { return rule->name(); }
    int slots() const override { return rule->slots(); }
    void update(const UpdateArgs& args) const override {
      if (++seen == pieces) throw Error("enough");
      rule->update(args);
    }
  };
  Solver solver = solver_on(gpu, net_with_everything(4), {.base_lr = 0.05, .rule = std::make_shared<Failing>(2)});
  const WeightCollection before = solver.net().weights();
  CHECK_THROWS_WITH_AS(solver.step(), "enough", Error);
  solver.net().backend().end_updates();
  const WeightCollection after = solver.net().weights();
  for (const char* const layer : {"conv", "scale", "ip"}) CHECK_UNARY(after[layer][0] == before[layer][0]);
}

TEST_CASE("a net with an observer is told of each layer") {
  Solver solver = solver_on(gpu, small_lenet(4), {.base_lr = 0.05});
  int calls = 0;
  solver.net().set_observer([&](const LayerParam&, bool) { ++calls; });
  solver.step(5);
  CHECK(calls == 5 * 2 * static_cast<int>(infer_shapes(small_lenet(4), Phase::Train).size()));
}

TEST_CASE("nets come and go and leave nothing") {
  const auto free_bytes = [] { return cuda_devices()[0].free_bytes; };
  { const Net first(small_lenet(4), on(gpu)); }
  const std::size_t before = free_bytes();
  const int nets = cuda_devices()[0].name == "emulated GPU" ? 20 : 1000;
  for (int i = 0; i < nets; ++i) {
    Solver solver = solver_on(gpu, small_lenet(4), {.base_lr = 0.05});
    if (i % 10 == 0) solver.step(4);
  }
  CHECK(free_bytes() == before);
}
