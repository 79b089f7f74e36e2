#include "kernels/cuda/transfer.h"

#include <vector>

#include "kernels/cuda/launch.h"

namespace sparknet::kernels::cuda {
namespace {

/// Memory of the host that the GPU copies from and to by itself.
class Pinned {
 public:
  Pinned(Context& context, std::size_t bytes) {
    context.check(cudaMallocHost(&memory_, bytes > 0 ? bytes : 1), "allocating pinned memory");
  }
  ~Pinned() { cudaFreeHost(memory_); }
  Pinned(Pinned&& other) noexcept : memory_(other.memory_) { other.memory_ = nullptr; }
  Pinned& operator=(Pinned&&) = delete;
  void* get() const { return memory_; }

 private:
  void* memory_ = nullptr;
};

class DeviceMemory {
 public:
  DeviceMemory(Context& context, std::size_t bytes, const char* what) {
    context.check(cudaMalloc(&memory_, bytes > 0 ? bytes : 1), what);
  }
  ~DeviceMemory() { cudaFree(memory_); }
  DeviceMemory(DeviceMemory&& other) noexcept : memory_(other.memory_) { other.memory_ = nullptr; }
  DeviceMemory& operator=(DeviceMemory&&) = delete;
  void* get() const { return memory_; }

 private:
  void* memory_ = nullptr;
};

class Event {
 public:
  explicit Event(Context& context) {
    context.check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "making an event");
  }
  ~Event() {
    if (event_) cudaEventDestroy(event_);
  }
  Event(Event&& other) noexcept : event_(other.event_) { other.event_ = nullptr; }
  Event& operator=(Event&&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

/// Copies words that are not in the way of a veto.
void copy_words(Context& context, std::size_t bytes, const void* from, void* to, const Index* veto) {
  const auto* const in = static_cast<const unsigned*>(from);
  auto* const out = static_cast<unsigned*>(to);
  const Index count = static_cast<Index>(bytes / sizeof(unsigned));
  for_each(context, "taking a batch", count, [=] __device__(Index i) {
    if (*veto < 0) out[i] = in[i];
  });
}

/// Makes numbers of bytes that are not in the way of a veto. I counts the elements: 32 bits divide faster than 64.
template <class T, class I, class A = Arithmetic<T>>
void take_bytes(Context& context, const ByteBatch& batch, const A* mean, const void* from, T* to, const Index* veto) {
  const auto* const bytes = static_cast<const std::uint8_t*>(from);
  const auto* const placements = reinterpret_cast<const std::int32_t*>(bytes + batch.placements_at());
  const I channels = static_cast<I>(batch.channels), height = static_cast<I>(batch.height),
          width = static_cast<I>(batch.width);
  const Index by_channel = batch.mean_steps[0], by_row = batch.mean_steps[1], by_column = batch.mean_steps[2];
  const bool placed = batch.placed;
  const A scale = static_cast<A>(batch.scale);
  for_each(context, "taking a batch", batch.count(), [=] __device__(Index i) {
    if (*veto >= 0) return;
    const I row = static_cast<I>(i) / width, plane = row / height, example = plane / channels;
    const Index c = plane - example * channels;
    Index y = row - plane * height, x = static_cast<I>(i) - row * width;
    if (placed) {
      const std::int32_t* const placement = placements + 3 * static_cast<Index>(example);
      if (placement[2]) x = static_cast<Index>(width) - 1 - x;
      y += placement[0];
      x += placement[1];
    }
    to[i] = static_cast<T>((static_cast<A>(bytes[i]) - mean[c * by_channel + y * by_row + x * by_column]) * scale);
  });
}

/// Two buffers, which are filled, copied to the device by a stream of their own, and from there to their place in turn.
class CudaUpload : public Upload {
 public:
  CudaUpload(Context& context, std::size_t bytes) : context_(context), bytes_(bytes) {
    context.check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
    for (int i = 0; i < 2; ++i) buffers_.emplace_back(context, bytes);
  }
  ~CudaUpload() override {
    context_.use();
    cudaStreamSynchronize(stream_);
    cudaStreamSynchronize(context_.stream());
    cudaStreamDestroy(stream_);
  }

  void* buffer() override {
    Buffer& buffer = buffers_[next_];
    context_.check(cudaEventSynchronize(buffer.arrived.get()), "sending a batch");
    return buffer.host.get();
  }

  void send(void* to, const Index* veto) override {
    context_.use();
    Buffer& buffer = buffers_[next_];
    next_ = 1 - next_;
    // The batch that lay there has been taken.
    context_.check(cudaStreamWaitEvent(stream_, buffer.taken.get(), 0), "sending a batch");
    context_.check(
        cudaMemcpyAsync(buffer.device.get(), buffer.host.get(), bytes_, cudaMemcpyHostToDevice, stream_),
        "sending a batch");
    context_.check(cudaEventRecord(buffer.arrived.get(), stream_), "sending a batch");
    context_.check(cudaStreamWaitEvent(context_.stream(), buffer.arrived.get(), 0), "taking a batch");
    take(buffer.device.get(), to, veto);
    context_.check(cudaEventRecord(buffer.taken.get(), context_.stream()), "taking a batch");
  }

 protected:
  /// Lets the net have what has come over.
  virtual void take(const void* from, void* to, const Index* veto) { copy_words(context_, bytes_, from, to, veto); }

  Context& context_;

 private:
  struct Buffer {
    Buffer(Context& context, std::size_t bytes)
        : host(context, bytes),
          device(context, bytes, "allocating memory for a batch"),
          arrived(context),
          taken(context) {}

    Pinned host;
    DeviceMemory device;
    Event arrived, taken;
  };

  std::size_t bytes_;
  cudaStream_t stream_ = nullptr;
  std::vector<Buffer> buffers_;
  std::size_t next_ = 0;
};

template <class T, class A = Arithmetic<T>>
class ByteUpload final : public CudaUpload {
 public:
  ByteUpload(Context& context, const ByteBatch& batch)
      : CudaUpload(context, batch.bytes()),
        batch_(batch),
        mean_(context, static_cast<std::size_t>(batch.mean_count) * sizeof(A), "allocating memory for a mean") {
    const std::size_t bytes = static_cast<std::size_t>(batch.mean_count) * sizeof(A);
    context.check(
        cudaMemcpyAsync(mean_.get(), batch.mean, bytes, cudaMemcpyHostToDevice, context.stream()),
        "sending a mean");
    context.wait();
  }
  ~ByteUpload() override {
    context_.use();
    cudaStreamSynchronize(context_.stream());
  }

 private:
  void take(const void* from, void* to, const Index* veto) override {
    if (batch_.count() < Index{1} << 32)
      take_bytes<T, std::uint32_t>(context_, batch_, in<A>(mean_.get()), from, out<T>(to), veto);
    else
      take_bytes<T, Index>(context_, batch_, in<A>(mean_.get()), from, out<T>(to), veto);
  }

  ByteBatch batch_;
  DeviceMemory mean_;
};

class CudaDownload final : public Download {
 public:
  CudaDownload(Context& context, std::size_t bytes, int depth) : context_(context), bytes_(bytes) {
    for (int i = 0; i < depth; ++i) blocks_.emplace_back(context, bytes);
  }
  ~CudaDownload() override { cudaStreamSynchronize(context_.stream()); }

  void start(const void* from) override {
    const Block& block = blocks_[started_++ % blocks_.size()];
    context_.check(
        cudaMemcpyAsync(block.host.get(), from, bytes_, cudaMemcpyDeviceToHost, context_.stream()),
        "reading results");
    context_.check(cudaEventRecord(block.arrived.get(), context_.stream()), "reading results");
  }

  const void* finish() override {
    const Block& block = blocks_[finished_++ % blocks_.size()];
    context_.check(cudaEventSynchronize(block.arrived.get()), "waiting for results");
    return block.host.get();
  }

 private:
  struct Block {
    Block(Context& context, std::size_t bytes) : host(context, bytes), arrived(context) {}
    Pinned host;
    Event arrived;
  };

  Context& context_;
  std::size_t bytes_;
  std::vector<Block> blocks_;
  std::size_t started_ = 0, finished_ = 0;
};

}  // namespace

std::unique_ptr<Upload> make_upload(Context& context, std::size_t bytes) {
  return std::make_unique<CudaUpload>(context, bytes);
}

std::unique_ptr<Upload> make_upload(Context& context, const ByteBatch& batch) {
  std::unique_ptr<Upload> made;
  with_blob_type(batch.dtype, [&](auto zero) { made = std::make_unique<ByteUpload<decltype(zero)>>(context, batch); });
  return made;
}

std::unique_ptr<Download> make_download(Context& context, std::size_t bytes, int depth) {
  return std::make_unique<CudaDownload>(context, bytes, depth);
}

}  // namespace sparknet::kernels::cuda
