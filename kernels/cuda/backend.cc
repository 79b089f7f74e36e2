#include "kernels/cuda/backend.h"

#include <new>
#include <string>

#include "kernels/cuda/transfer.h"

namespace sparknet::kernels::cuda {

CudaBackend::CudaBackend(const BackendOptions& options)
    : context_(options), updates_(context_), description_(to_string(Device::cuda(options.device))) {
  cudaDeviceProp properties;
  context_.check(cudaGetDeviceProperties(&properties, options.device), "asking for its properties");
  properties.name[sizeof properties.name - 1] = '\0';
  description_ += std::string(" ") + properties.name + (context_.uses_tf32() ? ", TF32" : "");
}

CudaBackend::~CudaBackend() = default;

bool CudaBackend::on_host() const {
  return false;
}
int CudaBackend::threads() const {
  return 1;
}
const char* CudaBackend::description() const {
  return description_.c_str();
}

void* CudaBackend::allocate(std::size_t bytes) {
  context_.use();
  void* memory = nullptr;
  if (cudaMalloc(&memory, bytes) == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // which remembers it
    throw std::bad_alloc();
  }
  if (!memory) context_.fail("allocating memory", "there is no device");
  context_.check(cudaMemsetAsync(memory, 0, bytes, context_.stream()), "clearing memory");
  context_.wait();
  return memory;
}

void CudaBackend::release(void* memory) noexcept {
  cudaFree(memory);
}

void CudaBackend::read(void* host, const void* memory, std::size_t bytes) {
  context_.wait();
  context_.check(cudaMemcpyAsync(host, memory, bytes, cudaMemcpyDeviceToHost, context_.stream()), "reading");
  context_.wait();
}

void CudaBackend::write(void* memory, const void* host, std::size_t bytes) {
  context_.use();
  context_.check(cudaMemcpyAsync(memory, host, bytes, cudaMemcpyHostToDevice, context_.stream()), "writing");
  context_.wait();
}

void CudaBackend::copy(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0 || to == from || !context_.begins()) return;
  context_.check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, context_.stream()), "copying");
  context_.done();
}

void CudaBackend::wait() {
  context_.wait();
}

void CudaBackend::begin_step() {
  context_.use();
  context_.begin_step();
}

void CudaBackend::end_step() {
  context_.end_step();
}

void CudaBackend::abandon_step() {
  updates_.forget();
  context_.abandon_step();
}

std::unique_ptr<Upload> CudaBackend::upload(std::size_t bytes) {
  context_.use();
  return make_upload(context_, bytes);
}

std::unique_ptr<Upload> CudaBackend::upload(const ByteBatch& batch) {
  context_.use();
  return make_upload(context_, batch);
}

std::unique_ptr<Download> CudaBackend::download(std::size_t bytes, int depth) {
  context_.use();
  return make_download(context_, bytes, depth);
}

}  // namespace sparknet::kernels::cuda
