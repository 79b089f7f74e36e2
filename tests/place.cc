#include "tests/place.h"

#include <cstdlib>
#include <new>
#include <string_view>

#include "src/cuda.h"

namespace sparknet::test {

bool on_gpu() {
  static const bool is = [] {
    const char* const device = std::getenv("SPARKNET_TEST_DEVICE");
    return device && std::string_view(device) == "cuda";
  }();
  return is;
}

std::shared_ptr<kernels::Backend> make_gpu_backend() {
  return make_cuda_backend({.waits = true});
}

std::shared_ptr<void> shared_memory(std::size_t bytes) {
  if (on_gpu()) return make_shared_memory(bytes);
  constexpr std::align_val_t kAlignment{64};
  return {::operator new(bytes, kAlignment), [](void* memory) { ::operator delete(memory, kAlignment); }};
}

}  // namespace sparknet::test
