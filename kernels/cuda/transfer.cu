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

/// Two buffers, which are filled, copied to the device by a stream of their own, and from there to their place in turn.
class CudaUpload final : public Upload {
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
        cudaMemcpyAsync(buffer.device, buffer.host.get(), bytes_, cudaMemcpyHostToDevice, stream_),
        "sending a batch");
    context_.check(cudaEventRecord(buffer.arrived.get(), stream_), "sending a batch");
    context_.check(cudaStreamWaitEvent(context_.stream(), buffer.arrived.get(), 0), "taking a batch");
    copy_words(context_, bytes_, buffer.device, to, veto);
    context_.check(cudaEventRecord(buffer.taken.get(), context_.stream()), "taking a batch");
  }

 private:
  struct Buffer {
    Buffer(Context& context, std::size_t bytes) : host(context, bytes), arrived(context), taken(context) {
      context.check(cudaMalloc(&device, bytes > 0 ? bytes : 1), "allocating memory for a batch");
    }
    ~Buffer() { cudaFree(device); }
    Buffer(Buffer&& other) noexcept
        : host(std::move(other.host)),
          arrived(std::move(other.arrived)),
          taken(std::move(other.taken)),
          device(other.device) {
      other.device = nullptr;
    }
    Buffer& operator=(Buffer&&) = delete;

    Pinned host;
    Event arrived, taken;
    void* device = nullptr;
  };

  Context& context_;
  std::size_t bytes_;
  cudaStream_t stream_ = nullptr;
  std::vector<Buffer> buffers_;
  std::size_t next_ = 0;
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

std::unique_ptr<Download> make_download(Context& context, std::size_t bytes, int depth) {
  return std::make_unique<CudaDownload>(context, bytes, depth);
}

}  // namespace sparknet::kernels::cuda
