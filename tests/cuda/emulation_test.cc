#define DOCTEST_CONFIG_IMPLEMENT
#include "tests/cuda/emulation_test.h"

#include <cstdlib>
#include <thread>

using namespace sparknet::emulation;

int main(int argc, char** argv) {
  setenv("SPARKNET_EMULATED_GPUS", "2", 1);
  for (const char* const variable : {"SPARKNET_EMULATED_MEMORY", "SPARKNET_EMULATION", "SPARKNET_EMULATION_GUARD"})
    unsetenv(variable);
  return doctest::Context(argc, argv).run();
}

TEST_CASE("nothing runs before somebody waits, and then in order") {
  Stream stream;
  Number from(1), to(0);
  DeviceArray<int> memory(1);
  int* const at = memory.get();
  CHECK(cudaMemcpyAsync(at, from.value, sizeof(int), cudaMemcpyHostToDevice, stream) == kSuccess);
  CHECK(launch(stream, [=] { *at *= 10; }) == kSuccess);
  CHECK(cudaMemcpyAsync(to.value, at, sizeof(int), cudaMemcpyDeviceToHost, stream) == kSuccess);
  CHECK(*to.value == 0);
  *from.value = 2;  // too early
  CHECK(cudaStreamSynchronize(stream) == kSuccess);
  CHECK(*to.value == 20);

  int pageable = 3;
  CHECK(cudaMemcpyAsync(at, &pageable, sizeof(int), cudaMemcpyHostToDevice, stream) == kSuccess);
  pageable = 4;  // CUDA has taken it
  CHECK(cudaMemcpyAsync(&pageable, at, sizeof(int), cudaMemcpyDeviceToHost, stream) == kSuccess);
  CHECK(cudaMemsetAsync(at, 0, sizeof(int), stream) == kSuccess);
  CHECK(pageable == 4);
  for (int left = 3; left > 0; --left) CHECK(cudaStreamQuery(stream) == cudaErrorNotReady);
  CHECK(cudaStreamQuery(stream) == kSuccess);
  CHECK(pageable == 3);
  CHECK(memory.read() == std::vector<int>{0});
  CHECK(cudaGetLastError() == cudaErrorNotReady);
  CHECK(cudaGetLastError() == kSuccess);

  options().eager = true;
  CHECK(launch(stream, [=] { *at = 7; }) == kSuccess);
  CHECK(cudaMemcpyAsync(to.value, at, sizeof(int), cudaMemcpyDeviceToHost, stream) == kSuccess);
  CHECK(*to.value == 7);
  options().eager = false;
}

TEST_CASE("a wait for an event runs what is before it in the other stream, and no more") {
  Stream first, second;
  Event event, start;
  Number seen(-1);
  DeviceArray<int> memory(std::vector<int>{0});
  int* const at = memory.get();
  CHECK(cudaStreamWaitEvent(second, event, 0) == kSuccess);  // never recorded
  CHECK(cudaEventSynchronize(event) == kSuccess);
  CHECK(cudaEventRecord(start, first) == kSuccess);
  CHECK(launch(first, [=] { *at = 1; }) == kSuccess);
  CHECK(cudaEventRecord(event, first) == kSuccess);
  CHECK(launch(first, [=] { *at = 2; }) == kSuccess);
  CHECK(cudaEventQuery(event) == cudaErrorNotReady);
  float milliseconds = -1;
  CHECK(cudaEventElapsedTime(&milliseconds, start, event) == cudaErrorNotReady);
  CHECK(cudaStreamWaitEvent(second, event, 0) == kSuccess);
  CHECK(cudaEventRecord(event, second) == kSuccess);  // the wait is for what was recorded before
  CHECK(cudaMemcpyAsync(seen.value, at, sizeof(int), cudaMemcpyDeviceToHost, second) == kSuccess);
  CHECK(cudaStreamSynchronize(second) == kSuccess);
  CHECK(*seen.value == 1);
  CHECK(cudaEventQuery(event) == kSuccess);
  CHECK(cudaEventElapsedTime(&milliseconds, start, event) == kSuccess);
  CHECK(milliseconds >= 0);
  CHECK(memory.read() == std::vector<int>{2});

  // A missing wait.
  CHECK(launch(first, [=] { *at = 3; }) == kSuccess);
  CHECK(cudaMemcpyAsync(seen.value, at, sizeof(int), cudaMemcpyDeviceToHost, second) == kSuccess);
  CHECK(cudaStreamSynchronize(second) == kSuccess);
  CHECK(*seen.value == 2);
  CHECK(cudaDeviceSynchronize() == kSuccess);
}

TEST_CASE("the legacy stream and blocking streams wait for each other") {
  Stream blocking(cudaStreamDefault), other;
  DeviceArray<int> memory(std::vector<int>{5});
  int* const at = memory.get();
  int seen = 0;
  CHECK(launch(blocking, [=] { *at += 1; }) == kSuccess);
  CHECK(launch(other, [=] { *at += 100; }) == kSuccess);
  CHECK(cudaMemcpy(&seen, at, sizeof(int), cudaMemcpyDeviceToHost) == kSuccess);
  CHECK(seen == 6);
  CHECK(cudaMemset(at, 0, sizeof(int)) == kSuccess);
  CHECK(launch(blocking, [=] { *at += 2; }) == kSuccess);
  CHECK(cudaStreamSynchronize(blocking) == kSuccess);
  CHECK(cudaMemcpy(&seen, at, sizeof(int), cudaMemcpyDeviceToHost) == kSuccess);
  CHECK(seen == 2);
  CHECK(cudaDeviceSynchronize() == kSuccess);
  CHECK(cudaMemcpy(&seen, at, sizeof(int), cudaMemcpyDeviceToHost) == kSuccess);
  CHECK(seen == 102);
}

TEST_CASE("the work of a stream that is destroyed is done, and freeing memory waits") {
  Number seen(0);
  {
    Stream stream;
    DeviceArray<int> memory(std::vector<int>{8});
    int* const at = memory.get();
    CHECK(cudaMemcpyAsync(seen.value, at, sizeof(int), cudaMemcpyDeviceToHost, stream) == kSuccess);
    CHECK(cudaStreamDestroy(std::exchange(stream.handle, nullptr)) == kSuccess);
    CHECK(*seen.value == 0);
  }
  CHECK(*seen.value == 8);
  CHECK(cudaStreamDestroy(nullptr) == cudaErrorInvalidResourceHandle);
  CHECK(death_of([] {
          cudaStream_t stream = nullptr;
          cudaStreamCreate(&stream);
          cudaStreamDestroy(stream);
          cudaStreamSynchronize(stream);
        }) == SIGABRT);
}

TEST_CASE("a stream is recorded once and repeated with other parameters") {
  Stream stream(cudaStreamDefault), other;
  Number from(1), to(0);
  DeviceArray<int> memory(std::vector<int>{0});
  int* const at = memory.get();
  struct Add {
    int* at;
    int number;
    void operator()() const { *at += number; }
  };
  const auto add = [at](int number) { return Add{at, number}; };

  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == kSuccess);
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaErrorIllegalState);
  CHECK(cudaMemcpyAsync(at, from.value, sizeof(int), cudaMemcpyHostToDevice, stream) == kSuccess);
  CHECK(launch(stream, add(10)) == kSuccess);
  const cudaGraphNode_t* nodes = nullptr;
  std::size_t count = 0;
  cudaStreamCaptureStatus status{};
  CHECK(cudaStreamGetCaptureInfo(stream, &status, nullptr, nullptr, &nodes, nullptr, &count) == kSuccess);
  REQUIRE(count == 1);
  const cudaGraphNode_t node = nodes[0];
  CHECK(launch(stream, [=] { *at *= 2; }) == kSuccess);
  CHECK(cudaMemcpyAsync(to.value, at, sizeof(int), cudaMemcpyDeviceToHost, stream) == kSuccess);
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamEndCapture(stream, &graph) == kSuccess);
  cudaGraph_t none = nullptr;
  CHECK(cudaStreamEndCapture(stream, &none) == cudaErrorIllegalState);
  cudaGraphExec_t exec = nullptr;
  REQUIRE(cudaGraphInstantiate(&exec, graph, 0) == kSuccess);
  CHECK(cudaStreamSynchronize(stream) == kSuccess);
  CHECK(*to.value == 0);

  CHECK(cudaGraphLaunch(exec, stream) == kSuccess);
  CHECK(*to.value == 0);
  *from.value = 2;
  Kernel<Add> kernel{add(100)};
  void* arguments[] = {&kernel};
  cudaKernelNodeParams params{};
  params.func = const_cast<void*>(kernel_of<Kernel<Add>>());
  params.gridDim = dim3(1);
  params.blockDim = dim3(32);
  params.kernelParams = arguments;
  CHECK(cudaGraphExecKernelNodeSetParams(exec, node, &params) == kSuccess);
  kernel.f = add(1000);
  CHECK(cudaStreamSynchronize(stream) == kSuccess);
  CHECK(*to.value == 24);  // with the parameter of before, but what the host has now
  CHECK(cudaGraphLaunch(exec, stream) == kSuccess);
  CHECK(cudaGraphLaunch(exec, other) == kSuccess);  // one after the other
  CHECK(launch(stream, [=] { *at = -1; }) == kSuccess);
  CHECK(cudaStreamSynchronize(other) == kSuccess);
  CHECK(*to.value == 204);

  const auto another = [=] { *at = 0; };
  params.func = const_cast<void*>(kernel_of<Kernel<decltype(another)>>());
  CHECK(cudaGraphExecKernelNodeSetParams(exec, node, &params) == cudaErrorGraphExecUpdateFailure);
  params.func = nullptr;
  CHECK(cudaGraphExecKernelNodeSetParams(exec, node, &params) == cudaErrorInvalidDeviceFunction);
  CHECK(cudaGraphDestroy(graph) == kSuccess);
  CHECK(death_of([&] { cudaGraphExecKernelNodeSetParams(exec, node, &params); }) == SIGABRT);
  CHECK(cudaGraphExecDestroy(exec) == kSuccess);
  CHECK(death_of([&] { cudaGraphLaunch(exec, stream); }) == SIGABRT);
}

TEST_CASE("what a recording does not allow is refused and spoils it") {
  Stream stream(cudaStreamDefault), other;
  Event event;
  DeviceArray<int> memory(std::vector<int>{0});
  int* const at = memory.get();
  cudaGraph_t graph = nullptr;
  void* more = nullptr;
  int host = 0;
  const auto begin = [&](cudaStreamCaptureMode mode) { REQUIRE(cudaStreamBeginCapture(stream, mode) == kSuccess); };
  const auto ends_spoilt = [&] {
    cudaStreamCaptureStatus status{};
    CHECK(cudaStreamIsCapturing(stream, &status) == kSuccess);
    CHECK(status == cudaStreamCaptureStatusInvalidated);
    CHECK(launch(stream, [] {}) == cudaErrorStreamCaptureInvalidated);
    CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated);
    CHECK(!graph);
  };

  begin(cudaStreamCaptureModeRelaxed);
  CHECK(cudaStreamSynchronize(stream) == cudaErrorStreamCaptureUnsupported);
  ends_spoilt();
  begin(cudaStreamCaptureModeRelaxed);
  CHECK(cudaDeviceSynchronize() == cudaErrorStreamCaptureUnsupported);
  ends_spoilt();
  begin(cudaStreamCaptureModeRelaxed);
  CHECK(cudaMemcpy(&host, at, sizeof host, cudaMemcpyDeviceToHost) == cudaErrorStreamCaptureImplicit);
  ends_spoilt();
  begin(cudaStreamCaptureModeRelaxed);
  CHECK(launch(nullptr, [] {}) == cudaErrorStreamCaptureImplicit);
  ends_spoilt();
  begin(cudaStreamCaptureModeRelaxed);
  CHECK(cudaEventRecord(event, stream) == kSuccess);
  CHECK(cudaEventSynchronize(event) == cudaErrorCapturedEvent);
  ends_spoilt();
  CHECK(cudaStreamWaitEvent(other, event, 0) == cudaErrorCapturedEvent);
  begin(cudaStreamCaptureModeGlobal);
  CHECK(cudaMalloc(&more, 1) == cudaErrorStreamCaptureUnsupported);
  ends_spoilt();
  begin(cudaStreamCaptureModeThreadLocal);
  CHECK(cudaStreamSynchronize(other) == cudaErrorStreamCaptureUnsupported);
  ends_spoilt();
  begin(cudaStreamCaptureModeGlobal);
  std::thread([&] { CHECK(cudaMalloc(&more, 1) == cudaErrorStreamCaptureUnsupported); }).join();
  ends_spoilt();

  begin(cudaStreamCaptureModeThreadLocal);
  std::thread([&] {
    CHECK(cudaMalloc(&more, 1) == kSuccess);
    CHECK(cudaFree(more) == kSuccess);
    CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureWrongThread);
  }).join();
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  CHECK(cudaThreadExchangeStreamCaptureMode(&mode) == kSuccess);
  CHECK(cudaMalloc(&more, 1) == kSuccess);
  CHECK(cudaFree(more) == kSuccess);
  CHECK(cudaThreadExchangeStreamCaptureMode(&mode) == kSuccess);
  CHECK(cudaStreamEndCapture(stream, &graph) == kSuccess);
  CHECK(cudaGraphDestroy(graph) == kSuccess);

  // Other streams.
  CHECK(cudaEventRecord(event, other) == kSuccess);
  begin(cudaStreamCaptureModeRelaxed);
  CHECK(cudaStreamWaitEvent(stream, event, 0) == cudaErrorStreamCaptureIsolation);
  ends_spoilt();
  for (const bool joined : {false, true}) {
    Event back;
    begin(cudaStreamCaptureModeRelaxed);
    CHECK(launch(stream, [=] { *at = 1; }) == kSuccess);
    CHECK(cudaEventRecord(event, stream) == kSuccess);
    CHECK(cudaStreamWaitEvent(other, event, 0) == kSuccess);
    CHECK(launch(other, [=] { *at += 1; }) == kSuccess);
    CHECK(cudaEventRecord(back, other) == kSuccess);
    CHECK(cudaStreamEndCapture(other, &graph) == cudaErrorStreamCaptureUnmatched);
    CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated);

    begin(cudaStreamCaptureModeRelaxed);
    CHECK(launch(stream, [=] { *at = 1; }) == kSuccess);
    CHECK(cudaEventRecord(event, stream) == kSuccess);
    CHECK(cudaStreamWaitEvent(other, event, 0) == kSuccess);
    CHECK(launch(other, [=] { *at += 1; }) == kSuccess);
    CHECK(cudaEventRecord(back, other) == kSuccess);
    if (joined) CHECK(cudaStreamWaitEvent(stream, back, 0) == kSuccess);
    CHECK(cudaStreamEndCapture(stream, &graph) == (joined ? cudaSuccess : cudaErrorStreamCaptureUnjoined));
    CHECK(!graph == !joined);
  }
  cudaGraphExec_t exec = nullptr;
  CHECK(cudaGraphInstantiate(&exec, graph, 0) == kSuccess);
  CHECK(cudaGraphLaunch(exec, stream) == kSuccess);
  CHECK(memory.read() == std::vector<int>{2});
  CHECK(cudaGraphExecDestroy(exec) == kSuccess);
  CHECK(cudaGraphDestroy(graph) == kSuccess);
  CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeRelaxed) == cudaErrorStreamCaptureUnsupported);
}

TEST_CASE("memory is new, aligned, counted and freed once") {
  const std::size_t before = emulated_bytes_in_use();
  std::size_t free_before = 0, free_after = 0, total = 0;
  CHECK(cudaMemGetInfo(&free_before, &total) == kSuccess);
  void* memory = nullptr;
  REQUIRE(cudaMalloc(&memory, 1000) == kSuccess);
  CHECK(reinterpret_cast<std::uintptr_t>(memory) % 256 == 0);
  CHECK(emulated_bytes_in_use() == before + 1000);
  CHECK(cudaMemGetInfo(&free_after, &total) == kSuccess);
  CHECK(free_before - free_after == 1000);
  std::vector<float> values(250);
  CHECK(cudaMemcpy(values.data(), memory, 1000, cudaMemcpyDeviceToHost) == kSuccess);
  CHECK(std::isnan(values.front()));
  CHECK(std::isnan(values.back()));

  char* const bytes = static_cast<char*>(memory);
  CHECK(cudaMemcpy(memory, values.data(), 1001, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(bytes + 1, values.data(), 1000, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(values.data(), memory, 1000, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(memory, values.data(), 1000, cudaMemcpyDeviceToDevice) == cudaErrorInvalidValue);
  CHECK(cudaMemset(values.data(), 0, 1000) == cudaErrorInvalidValue);
  CHECK(cudaMemset(memory, 0, 1001) == cudaErrorInvalidValue);
  CHECK(
      cudaMemcpy2DAsync(memory, 10, values.data(), 10, 11, 2, cudaMemcpyDefault, nullptr) ==
      cudaErrorInvalidPitchValue);
  CHECK(death_of([&] { cudaMemcpy(bytes, bytes + 1, 10, cudaMemcpyDeviceToDevice); }) == SIGABRT);

  values = {1, 2, 3, 4, 5, 6};
  CHECK(cudaMemcpy2DAsync(memory, 8, values.data(), 12, 8, 2, cudaMemcpyHostToDevice, nullptr) == kSuccess);
  values.assign(4, 0);
  CHECK(cudaMemcpy(values.data(), memory, 16, cudaMemcpyDefault) == kSuccess);
  CHECK(values == std::vector<float>{1, 2, 4, 5});

  CHECK(death_of([&] { cudaFreeHost(memory); }) == SIGABRT);
  CHECK(death_of([&] { cudaFree(bytes + 256); }) == SIGABRT);
  CHECK(death_of([&] {
          cudaFree(memory);
          cudaFree(memory);
        }) == SIGABRT);
  CHECK(cudaFree(memory) == kSuccess);
  CHECK(cudaFree(nullptr) == kSuccess);
  CHECK(emulated_bytes_in_use() == before);
  CHECK(cudaMalloc(&memory, total + 1) == cudaErrorMemoryAllocation);
  CHECK(!memory);
}

TEST_CASE("a slip dies where it is made") {
  if (!kGuards) return;
  DeviceArray<int> memory(std::vector<int>(64, 0));
  int* const at = memory.get();
  Stream stream;
  CHECK(death_of([&] { *at = 1; }) == SIGSEGV);
  const auto dies = [&](const auto& f) {
    return death_of([&] {
      launch(stream, f);
      cudaStreamSynchronize(stream);
    });
  };
  CHECK(dies([=] { at[63] = 1; }) == 0);
  CHECK(dies([=] { at[64] = 1; }) == SIGSEGV);
  CHECK(dies([=] { *static_cast<volatile int*>(at + 64); }) == SIGSEGV);

  // What the end of a page does not show.
  DeviceArray<int> odd(65);
  int* const of_odd = odd.get();
  for (const int slip : {-1, 0, 64, 65}) {
    CHECK(death_of([&] {
            launch(stream, [=] { of_odd[slip] = 1; });
            cudaFree(of_odd);
          }) == (slip == -1 || slip == 65 ? SIGABRT : 0));
  }

  void* freed = nullptr;
  REQUIRE(cudaMalloc(&freed, 4) == kSuccess);
  CHECK(cudaFree(freed) == kSuccess);
  CHECK(dies([=] { *static_cast<volatile int*>(freed); }) == SIGSEGV);
}

TEST_CASE("kernels do not see the host's memory, but what is shared") {
  Stream stream;
  DeviceArray<double> memory(1);
  double* const to = memory.get();
  Number pinned(3);
  void* managed = nullptr;
  REQUIRE(cudaMallocManaged(&managed, sizeof(int), cudaMemAttachGlobal) == kSuccess);
  int* const shared = static_cast<int*>(managed);
  *shared = 4;
  const int* const from = pinned.value;
  CHECK(launch(stream, [=] { *to = *from + *shared; }) == kSuccess);
  CHECK(memory.read() == std::vector<double>{7});

  std::vector<int> of_host(100, 5);
  const int* const hidden = of_host.data();
  const auto reads_the_host = [&] {
    launch(stream, [=] { *to = hidden[50]; });
    cudaStreamSynchronize(stream);
  };
  if (kGuards) CHECK(death_of(reads_the_host) == SIGSEGV);
  struct {
    const int* unused;
    double a, b;
  } const some{hidden, 1.5, 2.5};
  CHECK(launch(stream, [=] { *to = some.a + some.b; }) == kSuccess);
  CHECK(memory.read() == std::vector<double>{4});
  CHECK(cudaFree(managed) == kSuccess);

  cudaPointerAttributes attributes;
  CHECK(cudaPointerGetAttributes(&attributes, to) == kSuccess);
  CHECK(attributes.type == cudaMemoryTypeDevice);
  CHECK(cudaPointerGetAttributes(&attributes, pinned.value) == kSuccess);
  CHECK(attributes.type == cudaMemoryTypeHost);
  CHECK(cudaPointerGetAttributes(&attributes, hidden) == kSuccess);
  CHECK(attributes.type == cudaMemoryTypeUnregistered);
}

TEST_CASE("devices have their own streams and memory") {
  int count = 0;
  CHECK(cudaGetDeviceCount(&count) == kSuccess);
  CHECK(count == 2);
  CHECK(cudaSetDevice(2) == cudaErrorInvalidDevice);
  Stream first;
  DeviceArray<int> memory(std::vector<int>{1});
  int* const at = memory.get();
  REQUIRE(cudaSetDevice(1) == kSuccess);
  std::thread([] {
    int device = -1;
    CHECK(cudaGetDevice(&device) == kSuccess);
    CHECK(device == 0);
  }).join();
  {
    Stream second;
    DeviceArray<int> other(1);
    int* const other_at = other.get();
    CHECK(launch(first, [] {}) == cudaErrorInvalidResourceHandle);
    CHECK(cudaMemcpyAsync(other_at, at, sizeof(int), cudaMemcpyDeviceToDevice, first) == kSuccess);
    Event event;
    CHECK(cudaEventRecord(event, first) == cudaErrorInvalidResourceHandle);
    CHECK(cudaStreamSynchronize(first) == kSuccess);
    CHECK(other.read() == std::vector<int>{1});
    const auto reach = [&](int* where) {
      return death_of([&] {
        launch(second, [=] { *where = 1; });
        cudaStreamSynchronize(second);
      });
    };
    CHECK(reach(other_at) == 0);
    if (kGuards) CHECK(reach(at) == SIGSEGV);
  }
  CHECK(cudaSetDevice(0) == kSuccess);
  cudaDeviceProp properties;
  CHECK(cudaGetDeviceProperties(&properties, 1) == kSuccess);
  CHECK(std::string(properties.name) == "emulated GPU");
  CHECK(std::string(cudaGetErrorName(cudaErrorInvalidDevice)) == "cudaErrorInvalidDevice");
}

TEST_CASE("kernels are started in ways in which GPUs can") {
  Stream stream;
  const auto nothing = [] {};
  using Nothing = Kernel<decltype(nothing)>;
  Nothing kernel{nothing};
  void* arguments[] = {&kernel};
  const auto start = [&](const void* function, dim3 grid, dim3 block, std::size_t shared) {
    return cudaLaunchKernel(function, grid, block, arguments, shared, stream);
  };
  const void* const function = kernel_of<Nothing>();
  CHECK(start(function, dim3(1), dim3(1024), 48 * 1024) == kSuccess);
  CHECK(start(function, dim3(0), dim3(32), 0) == cudaErrorInvalidConfiguration);
  CHECK(start(function, dim3(1), dim3(1025), 0) == cudaErrorInvalidConfiguration);
  CHECK(start(function, dim3(1, 65536), dim3(32), 0) == cudaErrorInvalidConfiguration);
  CHECK(start(function, dim3(1), dim3(32), 48 * 1024 + 1) == cudaErrorInvalidValue);
  CHECK(start(nullptr, dim3(1), dim3(32), 0) == cudaErrorInvalidDeviceFunction);
}
