#include "sparknet/distributed/nccl.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <nccl.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <thread>

#include "sparknet/error.h"
#include "src/distributed/agreement.h"

namespace sparknet {
namespace {

using Clock = std::chrono::steady_clock;

static_assert(sizeof(NcclId) == sizeof(ncclUniqueId));

void check(cudaError_t status, const char* call) {
  if (status != cudaSuccess) throw DeviceError(fmt::format("{}: {}", call, cudaGetErrorString(status)));
}

void check(ncclResult_t status, const char* call, ncclComm_t group = nullptr) {
  // In a group that does not block this is no error: wait() finds out how it ends.
  if (status == ncclSuccess || status == ncclInProgress) return;
  const char* more = ncclGetLastError(group);
  throw DeviceError(
      fmt::format("{}: {}{}{}", call, ncclGetErrorString(status), more && *more ? ": " : "", more ? more : ""));
}

/// Memory of a GPU that grows.
class Buffer {
 public:
  ~Buffer() { cudaFree(data_); }
  void* of(std::size_t bytes) {
    if (bytes > size_) {
      cudaFree(data_);
      data_ = nullptr;
      size_ = 0;
      check(cudaMalloc(&data_, bytes), "cudaMalloc");
      size_ = bytes;
    }
    return data_;
  }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(const NcclId& id, int rank, int size, int device, const NcclOptions& options)
      : rank_(rank), size_(size), device_(device), timeout_(options.timeout) {
    int devices = 0;
    if (const cudaError_t status = cudaGetDeviceCount(&devices); status != cudaSuccess || devices == 0)
      throw DeviceError(fmt::format("NCCL needs a GPU, and there is none: {}", cudaGetErrorString(status)));
    if (device < 0 || device >= devices)
      throw DeviceError(fmt::format("there is no GPU {}; this machine has {}", device, devices));
    if (size < 1 || rank < 0 || rank >= size) throw Error(fmt::format("a group of {} has no member {}", size, rank));
    select();
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    ncclUniqueId name;
    std::memcpy(&name, id.data(), sizeof name);
    // Calls that do not block, so that one who does not come is noticed in time.
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    try {
      check(ncclCommInitRankConfig(&group_, size, name, rank, &config), "ncclCommInitRankConfig");
      wait("the other members");
    } catch (...) {
      release();
      throw;
    }
  }

  ~NcclCommunicator() override { release(); }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  bool reaches(Device device) const override { return device == Device::cpu() || device == Device::cuda(device_); }

  Attendance barrier(std::chrono::nanoseconds timeout, int) override {
    if (timeout.count() > 0) timeout_ = timeout;
    Tensor here(Shape{1});
    all_reduce_sum(here);
    Attendance all;
    all.present.resize(static_cast<std::size_t>(size_));
    std::iota(all.present.begin(), all.present.end(), 0);
    return all;
  }

  void broadcast(Tensor& values, int root) override {
    detail::check_root(root, size_);
    detail::check_dense(values);
    exchange(values, [&](void* data) {
      check(ncclBroadcast(data, data, values.bytes(), ncclUint8, root, group_, stream_), "ncclBroadcast", group_);
      wait("a broadcast");
    });
  }

  void all_reduce_sum(Tensor& values) override { all_reduce_mean(values, 1, 1); }

  void all_reduce_mean(Tensor& values, double scale, double divisor) override {
    detail::check_dense(values);
    detail::check_summable(values.dtype());
    const bool is_double = values.dtype() == DType::F64;
    const ncclDataType_t type = is_double ? ncclFloat64 : ncclFloat32;
    double factor = scale / divisor;
    float narrow = static_cast<float>(factor);
    exchange(values, [&](void* data) {
      // A factor of 0 would keep what is not finite.
      if (scale == 0) check(cudaMemsetAsync(data, 0, values.bytes(), stream_), "cudaMemsetAsync");
      // The same operation on all members, whatever their factors.
      ncclRedOp_t sum;
      check(
          ncclRedOpCreatePreMulSum(
              &sum,
              is_double ? static_cast<void*>(&factor) : static_cast<void*>(&narrow),
              type,
              ncclScalarHostImmediate,
              group_),
          "ncclRedOpCreatePreMulSum",
          group_);
      const auto count = static_cast<std::size_t>(values.count());
      check(ncclAllReduce(data, data, count, type, sum, group_, stream_), "ncclAllReduce", group_);
      wait("a sum");
      check(ncclRedOpDestroy(sum, group_), "ncclRedOpDestroy", group_);
    });
  }

 private:
  void select() const { check(cudaSetDevice(device_), "cudaSetDevice"); }

  /// Runs `work` on the values, on the GPU.
  template <class Work>
  void exchange(Tensor& values, const Work& work) {
    if (group_ == nullptr) throw Error(fmt::format("member {}: an exchange of this group failed before", rank_));
    select();
    if (values.device() == Device::cuda(device_)) return work(values.raw());
    if (values.device() != Device::cpu())
      throw DeviceError(fmt::format(
          "member {} has {}, and the tensor is on {}",
          rank_,
          to_string(Device::cuda(device_)),
          to_string(values.device())));
    void* const data = buffer_.of(values.bytes());
    check(cudaMemcpyAsync(data, values.raw(), values.bytes(), cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
    work(data);
    check(cudaMemcpyAsync(values.raw(), data, values.bytes(), cudaMemcpyDeviceToHost, stream_), "cudaMemcpyAsync");
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }

  /// Waits for the group and its stream; gives the group up where that fails or takes too long.
  void wait(const char* what) {
    const Clock::time_point begin = Clock::now();
    auto nap = std::chrono::microseconds(0);
    for (;;) {
      ncclResult_t state = ncclSuccess;
      check(ncclCommGetAsyncError(group_, &state), "ncclCommGetAsyncError", group_);
      if (state != ncclSuccess && state != ncclInProgress) {
        abort();
        throw DeviceError(fmt::format("{} failed: {}", what, ncclGetErrorString(state)));
      }
      if (state == ncclSuccess) {
        const cudaError_t done = cudaStreamQuery(stream_);
        if (done == cudaSuccess) return;
        if (done != cudaErrorNotReady) check(done, "cudaStreamQuery");
      }
      if (timeout_.count() > 0 && Clock::now() - begin > timeout_) {
        abort();
        throw Error(fmt::format(
            "member {} of {} waited {:g} s for {}: another one hangs or is gone",
            rank_,
            size_,
            std::chrono::duration<double>(timeout_).count(),
            what));
      }
      std::this_thread::sleep_for(nap);
      nap = std::min(nap * 2 + std::chrono::microseconds(1), std::chrono::microseconds(1000));
    }
  }

  void abort() {
    ncclCommAbort(group_);
    group_ = nullptr;
  }

  void release() {
    cudaSetDevice(device_);
    // It does not wait for members that are gone, as ending the group in turn would.
    if (group_ != nullptr) abort();
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
    stream_ = nullptr;
  }

  int rank_, size_, device_;
  std::chrono::nanoseconds timeout_;
  ncclComm_t group_ = nullptr;
  cudaStream_t stream_ = nullptr;
  Buffer buffer_;
};

}  // namespace

NcclId make_nccl_id() {
  ncclUniqueId name;
  check(ncclGetUniqueId(&name), "ncclGetUniqueId");
  NcclId id;
  std::memcpy(id.data(), &name, sizeof name);
  return id;
}

std::unique_ptr<Communicator> nccl_communicator(
    const NcclId& id, int rank, int size, int device, const NcclOptions& options) {
  return std::make_unique<NcclCommunicator>(id, rank, size, device, options);
}

}  // namespace sparknet
