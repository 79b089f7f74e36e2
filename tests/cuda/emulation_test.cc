// What the tests on emulated GPUs stand on.

#include "tests/cuda/emulation.h"

#include <cublas_v2.h>
#include <cudnn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "kernels/cuda/launch.h"

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

using namespace sparknet;
using namespace sparknet::emulation;
using sparknet::kernels::cuda::kernel_of;

int main(int argc, char** argv) {
  setenv("SPARKNET_EMULATED_GPUS", "2", 1);
  for (const char* const variable : {"SPARKNET_EMULATED_MEMORY", "SPARKNET_EMULATION", "SPARKNET_EMULATION_GUARD"})
    unsetenv(variable);
  return doctest::Context(argc, argv).run();
}

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kGuards = false;
#elif defined(__has_feature)
constexpr bool kGuards = !__has_feature(address_sanitizer);
#else
constexpr bool kGuards = true;
#endif

constexpr int kSuccess = cudaSuccess;  // as doctest prints numbers

template <class F>
struct Kernel {
  F f;
  void run() const { f(); }
};

template <class F>
cudaError_t launch(cudaStream_t stream, const F& f) {
  Kernel<F> kernel{f};
  void* arguments[] = {&kernel};
  return cudaLaunchKernel(kernel_of<Kernel<F>>(), dim3(1), dim3(32), arguments, 0, stream);
}

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count) : count_(count) {
    REQUIRE(cudaMalloc(&memory_, count * sizeof(T)) == kSuccess);
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    REQUIRE(cudaMemcpy(memory_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice) == kSuccess);
  }
  ~DeviceArray() { cudaFree(memory_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* get() const { return static_cast<T*>(memory_); }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    REQUIRE(cudaDeviceSynchronize() == kSuccess);
    REQUIRE(cudaMemcpy(values.data(), memory_, count_ * sizeof(T), cudaMemcpyDeviceToHost) == kSuccess);
    return values;
  }

 private:
  std::size_t count_;
  void* memory_ = nullptr;
};

struct Stream {
  explicit Stream(unsigned flags = cudaStreamNonBlocking) {
    REQUIRE(cudaStreamCreateWithFlags(&handle, flags) == kSuccess);
  }
  ~Stream() { cudaStreamDestroy(handle); }
  operator cudaStream_t() const { return handle; }
  cudaStream_t handle;
};

struct Event {
  Event() { REQUIRE(cudaEventCreate(&handle) == kSuccess); }
  ~Event() { cudaEventDestroy(handle); }
  operator cudaEvent_t() const { return handle; }
  cudaEvent_t handle;
};

/// Pinned memory for one number.
struct Number {
  explicit Number(int start) {
    void* memory = nullptr;
    REQUIRE(cudaMallocHost(&memory, sizeof(int)) == kSuccess);
    value = static_cast<int*>(memory);
    *value = start;
  }
  ~Number() { cudaFreeHost(value); }
  int* value;
};

/// The signal that a process dies of that does so, or 0.
template <class F>
int death_of(const F& f) {
  const pid_t child = fork();
  if (child == 0) {
    for (const int signal : {SIGSEGV, SIGBUS, SIGABRT}) std::signal(signal, SIG_DFL);
    if (!std::freopen("/dev/null", "w", stderr)) _exit(1);
    f();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

template <class T>
std::vector<T> random_numbers(std::size_t count, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> numbers(-1, 1);
  std::vector<T> values(count);
  for (T& value : values) value = static_cast<T>(numbers(engine));
  return values;
}

template <class T>
void check_close(const std::vector<T>& values, const std::vector<double>& expected) {
  REQUIRE(values.size() == expected.size());
  const double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-13;
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    wrong += !(std::fabs(double{values[i]} - expected[i]) <= tolerance * (1 + std::fabs(expected[i])));
  CHECK(wrong == 0);
}

}  // namespace

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

TEST_CASE_TEMPLATE("products", T, float, double) {
  constexpr bool kWide = sizeof(T) == 8;
  const cudaDataType type = kWide ? CUDA_R_64F : CUDA_R_32F;
  const cublasComputeType_t compute = kWide ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F;
  cublasHandle_t handle = nullptr;
  REQUIRE(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS);
  Stream stream;
  DeviceArray<char> workspace(1 << 20);
  CHECK(cublasSetStream(handle, stream) == CUBLAS_STATUS_SUCCESS);
  CHECK(cublasSetWorkspace(handle, workspace.get() + 1, 1000) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(cublasSetWorkspace(handle, workspace.get(), 1 << 20) == CUBLAS_STATUS_SUCCESS);

  struct {
    int m, n, k;
  } const sizes[] = {{1, 1, 1}, {5, 3, 0}, {4, 8, 16}, {13, 9, 300}, {33, 70, 65}};
  for (const auto& size : sizes) {
    for (int variant = 0; variant < 16; ++variant) {
      const bool transposed_a = variant & 1, transposed_b = variant & 2;
      const int count = variant & 4 ? 3 : 1;
      const T alpha = T(0.5), beta = variant & 8 ? T(2) : T(0);
      const int pitch_a = (transposed_a ? size.k : size.m) + 2, pitch_b = (transposed_b ? size.n : size.k) + 1;
      const int pitch_c = size.m + 3;
      const int next_a = pitch_a * (transposed_a ? size.m : size.k) + 5;
      const int next_b = pitch_b * (transposed_b ? size.k : size.n) + 7, next_c = pitch_c * size.n + 1;
      const auto values = [&](int next, unsigned seed) {
        return random_numbers<T>(static_cast<std::size_t>(next * count), seed);
      };
      const std::vector<T> a = values(next_a, 1), b = values(next_b, 2);
      std::vector<T> c = values(next_c, 3);
      std::vector<double> expected(c.begin(), c.end());
      for (int i = 0; i < count; ++i) {
        for (int column = 0; column < size.n; ++column) {
          for (int row = 0; row < size.m; ++row) {
            double sum = 0;
            for (int k = 0; k < size.k; ++k) {
              const int of_a = i * next_a + (transposed_a ? k + row * pitch_a : row + k * pitch_a);
              const int of_b = i * next_b + (transposed_b ? column + k * pitch_b : k + column * pitch_b);
              sum += double{a[static_cast<std::size_t>(of_a)]} * double{b[static_cast<std::size_t>(of_b)]};
            }
            const auto at = static_cast<std::size_t>(i * next_c + row + column * pitch_c);
            expected[at] = double{alpha} * sum + double{beta} * expected[at];
            if (beta == T(0)) c[at] = T(NAN);
          }
        }
      }
      const DeviceArray<T> on_a(a), on_b(b), on_c(c);
      T factors[] = {alpha, beta};
      CHECK(
          cublasGemmStridedBatchedEx(
              handle,
              transposed_a ? CUBLAS_OP_T : CUBLAS_OP_N,
              transposed_b ? CUBLAS_OP_T : CUBLAS_OP_N,
              size.m,
              size.n,
              size.k,
              &factors[0],
              on_a.get(),
              type,
              pitch_a,
              next_a,
              on_b.get(),
              type,
              pitch_b,
              next_b,
              &factors[1],
              on_c.get(),
              type,
              pitch_c,
              next_c,
              count,
              compute,
              CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
      factors[0] = factors[1] = T(NAN);  // they have been read
      check_close(on_c.read(), expected);
    }
  }

  // Wrong calls, and what lets TF32 in.
  const DeviceArray<T> a(std::vector<T>{T(1.0001)}), c(std::vector<T>{T(0)});
  const T one = 1, zero = 0;
  const auto multiply = [&](int m, int pitch, const void* from, cudaDataType type_c, cublasComputeType_t how) {
    return cublasGemmEx(
        handle,
        CUBLAS_OP_N,
        CUBLAS_OP_N,
        m,
        1,
        1,
        &one,
        from,
        type,
        pitch,
        a.get(),
        type,
        1,
        &zero,
        c.get(),
        type_c,
        pitch,
        how,
        CUBLAS_GEMM_DEFAULT);
  };
  CHECK(multiply(1, 1, a.get(), type, compute) == CUBLAS_STATUS_SUCCESS);
  CHECK(c.read()[0] == doctest::Approx(1.0001 * 1.0001).epsilon(1e-7));
  CHECK(multiply(0, 1, a.get(), type, compute) == CUBLAS_STATUS_SUCCESS);
  CHECK(multiply(-1, 1, a.get(), type, compute) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(multiply(1, 0, a.get(), type, compute) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(multiply(1, 1, nullptr, type, compute) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(multiply(1, 1, a.get(), CUDA_R_16F, compute) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(multiply(1, 1, a.get(), type, CUBLAS_COMPUTE_16F) == CUBLAS_STATUS_NOT_SUPPORTED);
  if (!kWide) {
    CHECK(multiply(1, 1, a.get(), type, CUBLAS_COMPUTE_32F_FAST_TF32) == CUBLAS_STATUS_SUCCESS);
    CHECK(c.read()[0] == 1);
    CHECK(cublasSetMathMode(handle, CUBLAS_TF32_TENSOR_OP_MATH) == CUBLAS_STATUS_SUCCESS);
    CHECK(multiply(1, 1, a.get(), type, compute) == CUBLAS_STATUS_SUCCESS);
    CHECK(c.read()[0] == 1);
  }
  CHECK(death_of([&] {
          multiply(1, 1, &one, type, compute);  // of the host
          cudaStreamSynchronize(stream);
        }) == SIGABRT);
  CHECK(death_of([&] {
          multiply(2, 2, a.get(), type, compute);  // beyond the end
          cudaStreamSynchronize(stream);
        }) == SIGABRT);
  CHECK(cublasDestroy(handle) == CUBLAS_STATUS_SUCCESS);
  CHECK(cublasDestroy(nullptr) == CUBLAS_STATUS_NOT_INITIALIZED);
  CHECK(std::string(cublasGetStatusString(CUBLAS_STATUS_SUCCESS)) == "success");
}

namespace {

struct Shape {
  int n, c, h, w, k, kernel_h, kernel_w, pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, group;

  int out_h() const { return (h + 2 * pad_h - (kernel_h - 1) * dilation_h - 1) / stride_h + 1; }
  int out_w() const { return (w + 2 * pad_w - (kernel_w - 1) * dilation_w - 1) / stride_w + 1; }
  std::size_t x_size() const { return static_cast<std::size_t>(n * c * h * w); }
  std::size_t y_size() const { return static_cast<std::size_t>(n * k * out_h() * out_w()); }
  std::size_t w_size() const { return static_cast<std::size_t>(k * (c / group) * kernel_h * kernel_w); }

  /// Calls f(index of x, of w, of y) for each product of a convolution.
  template <class F>
  void for_each_product(const F& f) const {
    const auto index = [](int i) { return static_cast<std::size_t>(i); };
    const int in = c / group, out = k / group;
    for (int image = 0; image < n; ++image) {
      for (int o = 0; o < k; ++o) {
        for (int oy = 0; oy < out_h(); ++oy) {
          for (int ox = 0; ox < out_w(); ++ox) {
            for (int i = 0; i < in; ++i) {
              for (int ky = 0; ky < kernel_h; ++ky) {
                for (int kx = 0; kx < kernel_w; ++kx) {
                  const int y = oy * stride_h - pad_h + ky * dilation_h, x = ox * stride_w - pad_w + kx * dilation_w;
                  if (y < 0 || y >= h || x < 0 || x >= w) continue;
                  f(index(((image * c + o / out * in + i) * h + y) * w + x),
                    index(((o * in + i) * kernel_h + ky) * kernel_w + kx),
                    index(((image * k + o) * out_h() + oy) * out_w() + ox));
                }
              }
            }
          }
        }
      }
    }
  }
};

constexpr Shape kShapes[] = {
    {1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1},
    {2, 3, 7, 9, 4, 3, 2, 0, 0, 1, 1, 1, 1, 1},
    {2, 4, 9, 8, 6, 3, 3, 2, 1, 2, 3, 1, 2, 2},
    {1, 6, 11, 5, 6, 2, 4, 1, 3, 1, 2, 3, 1, 6},
    {3, 20, 12, 12, 5, 5, 5, 0, 0, 1, 1, 1, 1, 1},
};

/// A convolution of cuDNN's.
struct Descriptors {
  Descriptors(const Shape& s, cudnnDataType_t type, cudnnMathType_t math) {
    CHECK(cudnnCreate(&handle) == CUDNN_STATUS_SUCCESS);
    CHECK(cudnnSetStream(handle, stream) == CUDNN_STATUS_SUCCESS);
    cudnnCreateTensorDescriptor(&x);
    cudnnCreateTensorDescriptor(&y);
    cudnnCreateFilterDescriptor(&w);
    cudnnCreateConvolutionDescriptor(&how);
    CHECK(cudnnSetTensor4dDescriptor(x, CUDNN_TENSOR_NCHW, type, s.n, s.c, s.h, s.w) == CUDNN_STATUS_SUCCESS);
    CHECK(
        cudnnSetTensor4dDescriptor(y, CUDNN_TENSOR_NCHW, type, s.n, s.k, s.out_h(), s.out_w()) == CUDNN_STATUS_SUCCESS);
    CHECK(
        cudnnSetFilter4dDescriptor(w, type, CUDNN_TENSOR_NCHW, s.k, s.c / s.group, s.kernel_h, s.kernel_w) ==
        CUDNN_STATUS_SUCCESS);
    CHECK(
        cudnnSetConvolution2dDescriptor(
            how,
            s.pad_h,
            s.pad_w,
            s.stride_h,
            s.stride_w,
            s.dilation_h,
            s.dilation_w,
            CUDNN_CROSS_CORRELATION,
            type) == CUDNN_STATUS_SUCCESS);
    CHECK(cudnnSetConvolutionGroupCount(how, s.group) == CUDNN_STATUS_SUCCESS);
    CHECK(cudnnSetConvolutionMathType(how, math) == CUDNN_STATUS_SUCCESS);
  }
  ~Descriptors() {
    cudnnDestroyConvolutionDescriptor(how);
    cudnnDestroyFilterDescriptor(w);
    cudnnDestroyTensorDescriptor(y);
    cudnnDestroyTensorDescriptor(x);
    cudnnDestroy(handle);
  }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;

  Stream stream;
  cudnnHandle_t handle = nullptr;
  cudnnTensorDescriptor_t x = nullptr, y = nullptr;
  cudnnFilterDescriptor_t w = nullptr;
  cudnnConvolutionDescriptor_t how = nullptr;
};

}  // namespace

TEST_CASE_TEMPLATE("convolutions", T, float, double) {
  for (const Shape& s : kShapes) {
    const Descriptors d(s, sizeof(T) == 8 ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT, CUDNN_FMA_MATH);
    int n = 0, k = 0, h = 0, w = 0;
    CHECK(cudnnGetConvolution2dForwardOutputDim(d.how, d.x, d.w, &n, &k, &h, &w) == CUDNN_STATUS_SUCCESS);
    CHECK(n == s.n);
    CHECK(k == s.k);
    CHECK(h == s.out_h());
    CHECK(w == s.out_w());

    const std::vector<T> x = random_numbers<T>(s.x_size(), 1), weights = random_numbers<T>(s.w_size(), 2);
    const std::vector<T> y = random_numbers<T>(s.y_size(), 3);
    for (const T beta : {T(0), T(2)}) {
      const T alpha = T(0.5);
      const auto start = [&](const std::vector<T>& old) {
        std::vector<double> sums(old.begin(), old.end());
        for (double& sum : sums) sum *= double{beta};
        return sums;
      };
      std::vector<double> of_x = start(x), of_weights = start(weights), of_y = start(y);
      s.for_each_product([&](std::size_t i, std::size_t j, std::size_t o) {
        of_y[o] += 0.5 * double{x[i]} * double{weights[j]};
        of_x[i] += 0.5 * double{y[o]} * double{weights[j]};
        of_weights[j] += 0.5 * double{y[o]} * double{x[i]};
      });
      const auto old = [&](const std::vector<T>& values) {
        return beta == T(0) ? std::vector<T>(values.size(), T(NAN)) : values;
      };
      const DeviceArray<T> on_x(x), on_weights(weights), on_y(y);
      const DeviceArray<T> to_x(old(x)), to_weights(old(weights)), to_y(old(y));

      std::size_t bytes = 0;
      const auto forward = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
      CHECK(
          cudnnGetConvolutionForwardWorkspaceSize(d.handle, d.x, d.w, d.how, d.y, forward, &bytes) ==
          CUDNN_STATUS_SUCCESS);
      CHECK(bytes > 0);
      const DeviceArray<char> workspace(bytes);
      CHECK(
          cudnnConvolutionForward(
              d.handle,
              &alpha,
              d.x,
              on_x.get(),
              d.w,
              on_weights.get(),
              d.how,
              forward,
              workspace.get(),
              bytes,
              &beta,
              d.y,
              to_y.get()) == CUDNN_STATUS_SUCCESS);
      check_close(to_y.read(), of_y);

      const auto backward_data = CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
      CHECK(
          cudnnGetConvolutionBackwardDataWorkspaceSize(d.handle, d.w, d.y, d.how, d.x, backward_data, &bytes) ==
          CUDNN_STATUS_SUCCESS);
      CHECK(
          cudnnConvolutionBackwardData(
              d.handle,
              &alpha,
              d.w,
              on_weights.get(),
              d.y,
              on_y.get(),
              d.how,
              backward_data,
              workspace.get(),
              bytes,
              &beta,
              d.x,
              to_x.get()) == CUDNN_STATUS_SUCCESS);
      check_close(to_x.read(), of_x);

      const auto backward_filter = CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;
      CHECK(
          cudnnGetConvolutionBackwardFilterWorkspaceSize(d.handle, d.x, d.y, d.how, d.w, backward_filter, &bytes) ==
          CUDNN_STATUS_SUCCESS);
      CHECK(
          cudnnConvolutionBackwardFilter(
              d.handle,
              &alpha,
              d.x,
              on_x.get(),
              d.y,
              on_y.get(),
              d.how,
              backward_filter,
              workspace.get(),
              bytes,
              &beta,
              d.w,
              to_weights.get()) == CUDNN_STATUS_SUCCESS);
      check_close(to_weights.read(), of_weights);
    }
  }
}

TEST_CASE("the gradients of a convolution are those of finite differences") {
  const Shape& s = kShapes[2];
  const Descriptors d(s, CUDNN_DATA_DOUBLE, CUDNN_FMA_MATH);
  std::vector<double> x = random_numbers<double>(s.x_size(), 1), weights = random_numbers<double>(s.w_size(), 2);
  const std::vector<double> dy = random_numbers<double>(s.y_size(), 3);
  const double one = 1, zero = 0;
  const DeviceArray<double> on_dy(dy), on_dx(x.size()), on_dweights(weights.size());
  const DeviceArray<char> workspace(1 << 20);
  /// The sum of dy * y.
  const auto loss = [&] {
    const DeviceArray<double> on_x(x), on_weights(weights), on_y(dy.size());
    REQUIRE(
        cudnnConvolutionForward(
            d.handle,
            &one,
            d.x,
            on_x.get(),
            d.w,
            on_weights.get(),
            d.how,
            CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM,
            nullptr,
            0,
            &zero,
            d.y,
            on_y.get()) == CUDNN_STATUS_SUCCESS);
    const std::vector<double> y = on_y.read();
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  const DeviceArray<double> on_x(x), on_weights(weights);
  CHECK(
      cudnnConvolutionBackwardData(
          d.handle,
          &one,
          d.w,
          on_weights.get(),
          d.y,
          on_dy.get(),
          d.how,
          CUDNN_CONVOLUTION_BWD_DATA_ALGO_1,
          workspace.get(),
          1 << 20,
          &zero,
          d.x,
          on_dx.get()) == CUDNN_STATUS_SUCCESS);
  CHECK(
      cudnnConvolutionBackwardFilter(
          d.handle,
          &one,
          d.x,
          on_x.get(),
          d.y,
          on_dy.get(),
          d.how,
          CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1,
          workspace.get(),
          1 << 20,
          &zero,
          d.w,
          on_dweights.get()) == CUDNN_STATUS_SUCCESS);
  const auto check = [&](std::vector<double>& values, const std::vector<double>& gradient) {
    for (std::size_t i = 0; i < values.size(); i += 7) {
      const double before = std::exchange(values[i], values[i] + 0.5), above = loss();
      values[i] = before - 0.5;
      CHECK(above - loss() == doctest::Approx(gradient[i]).epsilon(1e-9));
      values[i] = before;
    }
  };
  check(x, on_dx.read());
  check(weights, on_dweights.read());
}

TEST_CASE("cuDNN offers algorithms of all kinds, and says no") {
  const Shape& s = kShapes[1];
  const Descriptors d(s, CUDNN_DATA_FLOAT, CUDNN_DEFAULT_MATH);
  cudnnConvolutionFwdAlgoPerf_t found[8];
  int count = 0;
  CHECK(
      cudnnGetConvolutionForwardAlgorithm_v7(d.handle, d.x, d.w, d.how, d.y, 8, &count, found) == CUDNN_STATUS_SUCCESS);
  REQUIRE(count == 4);
  CHECK(found[0].memory == 1 << 30);
  CHECK(found[1].status == CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(found[2].mathType == CUDNN_TENSOR_OP_MATH);
  CHECK(
      cudnnGetConvolutionForwardAlgorithm_v7(d.handle, d.x, d.w, d.how, d.y, 1, &count, found) == CUDNN_STATUS_SUCCESS);
  CHECK(count == 1);
  cudnnConvolutionBwdDataAlgoPerf_t of_data[8];
  CHECK(
      cudnnGetConvolutionBackwardDataAlgorithm_v7(d.handle, d.w, d.y, d.how, d.x, 8, &count, of_data) ==
      CUDNN_STATUS_SUCCESS);
  CHECK(of_data[0].determinism == CUDNN_NON_DETERMINISTIC);
  cudnnConvolutionBwdFilterAlgoPerf_t of_filter[8];
  CHECK(
      cudnnGetConvolutionBackwardFilterAlgorithm_v7(d.handle, d.x, d.y, d.how, d.w, 8, &count, of_filter) ==
      CUDNN_STATUS_SUCCESS);
  CHECK(of_filter[0].determinism == CUDNN_NON_DETERMINISTIC);
  CHECK(of_filter[count - 1].determinism == CUDNN_DETERMINISTIC);

  const auto algorithm = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
  std::size_t bytes = 0;
  CHECK(cudnnSetConvolutionMathType(d.how, CUDNN_TENSOR_OP_MATH) == CUDNN_STATUS_SUCCESS);
  CHECK(
      cudnnGetConvolutionForwardWorkspaceSize(d.handle, d.x, d.w, d.how, d.y, algorithm, &bytes) ==
      CUDNN_STATUS_SUCCESS);
  const std::vector<float> ones(std::max({s.x_size(), s.w_size(), s.y_size()}), 1.0001f);
  const DeviceArray<float> x(ones), w(ones), y(ones);
  const DeviceArray<char> workspace(bytes);
  const float one = 1, zero = 0;
  const auto run = [&](cudnnConvolutionFwdAlgo_t how, void* memory, std::size_t size, const void* from) {
    return cudnnConvolutionForward(
        d.handle,
        &one,
        d.x,
        from,
        d.w,
        w.get(),
        d.how,
        how,
        memory,
        size,
        &zero,
        d.y,
        y.get());
  };
  CHECK(run(algorithm, workspace.get(), bytes, x.get()) == CUDNN_STATUS_SUCCESS);
  CHECK(y.read()[0] == 18);  // in TF32
  CHECK(run(algorithm, workspace.get(), bytes - 1, x.get()) == CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT);
  char message[200];
  cudnnGetLastErrorString(message, sizeof message);
  CHECK(std::string(message).find("bytes where the algorithm wants") != std::string::npos);
  CHECK(run(algorithm, nullptr, bytes, x.get()) == CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT);
  CHECK(run(algorithm, workspace.get(), bytes, nullptr) == CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
  CHECK(run(CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD, nullptr, 0, x.get()) == CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(cudnnSetConvolutionMathType(d.how, CUDNN_FMA_MATH) == CUDNN_STATUS_SUCCESS);
  CHECK(run(algorithm, workspace.get(), bytes / 2, x.get()) == CUDNN_STATUS_SUCCESS);
  CHECK(y.read()[0] == doctest::Approx(18 * 1.0001 * 1.0001).epsilon(1e-6));
  CHECK(death_of([&] {
          run(algorithm, workspace.get(), bytes / 2, ones.data());
          cudaDeviceSynchronize();
        }) == SIGABRT);
  // A workspace that is one of the arrays.
  const DeviceArray<float> both(std::vector<float>(bytes, 1.0f));
  CHECK(run(algorithm, both.get(), bytes / 2, both.get()) == CUDNN_STATUS_SUCCESS);
  CHECK(std::isnan(y.read()[0]));

  CHECK(cudnnSetTensor4dDescriptor(d.y, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, s.n, s.k, 1, 1) == CUDNN_STATUS_SUCCESS);
  CHECK(run(algorithm, workspace.get(), bytes, x.get()) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnSetTensor4dDescriptor(d.y, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 1, 0, 1, 1) == CUDNN_STATUS_BAD_PARAM);
  CHECK(
      cudnnSetTensor4dDescriptor(d.y, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 1 << 16, 1 << 15, 1, 1) ==
      CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(
      cudnnSetConvolution2dDescriptor(d.how, 0, 0, 0, 1, 1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT) ==
      CUDNN_STATUS_BAD_PARAM);
  CHECK(std::string(cudnnGetErrorString(CUDNN_STATUS_BAD_PARAM)) == "CUDNN_STATUS_BAD_PARAM");
  CHECK(cudnnGetVersion() == CUDNN_VERSION);
}

TEST_CASE("calls of the libraries are recorded") {
  Stream stream;
  cublasHandle_t handle = nullptr, late = nullptr;
  REQUIRE(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS);
  CHECK(cublasSetStream(handle, stream) == CUBLAS_STATUS_SUCCESS);
  const DeviceArray<double> a(std::vector<double>{3}), c(std::vector<double>{1});
  const double one = 1;
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == kSuccess);
  CHECK(
      cublasGemmEx(
          handle,
          CUBLAS_OP_N,
          CUBLAS_OP_N,
          1,
          1,
          1,
          &one,
          a.get(),
          CUDA_R_64F,
          1,
          a.get(),
          CUDA_R_64F,
          1,
          &one,
          c.get(),
          CUDA_R_64F,
          1,
          CUBLAS_COMPUTE_64F,
          CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamEndCapture(stream, &graph) == kSuccess);
  cudaGraphExec_t exec = nullptr;
  REQUIRE(cudaGraphInstantiate(&exec, graph, 0) == kSuccess);
  CHECK(cudaGraphLaunch(exec, stream) == kSuccess);
  CHECK(cudaGraphLaunch(exec, stream) == kSuccess);
  CHECK(c.read() == std::vector<double>{19});
  CHECK(cudaGraphExecDestroy(exec) == kSuccess);
  CHECK(cudaGraphDestroy(graph) == kSuccess);

  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == kSuccess);
  CHECK(cublasCreate(&late) == CUBLAS_STATUS_ALLOC_FAILED);
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated);
  CHECK(cublasDestroy(handle) == CUBLAS_STATUS_SUCCESS);
}
