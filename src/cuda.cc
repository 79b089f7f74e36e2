#include "sparknet/cuda.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <mutex>

#include "kernels/cuda/module.h"
#include "sparknet/error.h"
#include "src/cuda.h"

namespace sparknet {
namespace {

using kernels::cuda::Module;

constexpr const char* file_name = "libsparknet_cuda.so";

/// Where the module may lie, likeliest first.
std::vector<std::string> places() {
  if (const char* told = std::getenv("SPARKNET_CUDA_MODULE"); told && *told) return {told};
  std::vector<std::string> found;
  // The file that holds this function: the library, or a program that it was linked into, which goes by the name it was
  // called by.
  std::error_code ignored;
  Dl_info self{};
  std::filesystem::path file;
  if (dladdr(reinterpret_cast<const void*>(&cuda_devices), &self) != 0 && self.dli_fname) file = self.dli_fname;
  if (!file.is_absolute()) file = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const std::filesystem::path folder = file.parent_path();
  if (folder.is_absolute())
    for (const std::filesystem::path& place : {folder / file_name, folder / ".." / SPARKNET_LIBDIR / file_name})
      if (std::filesystem::exists(place, ignored)) found.push_back(place.string());
  found.emplace_back(file_name);
  return found;
}

const Module& load() {
  std::string why;
  for (const std::string& place : places()) {
    void* const handle = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
      why += fmt::format("\n  {}", dlerror());
      continue;
    }
    const auto function =
        reinterpret_cast<kernels::cuda::ModuleFunction>(dlsym(handle, kernels::cuda::kModuleFunction));
    const Module* module = function ? function() : nullptr;
    if (module && module->version == kernels::cuda::kModuleVersion) return *module;
    why += module ? fmt::format(
                        "\n  {}: is of version {}, and this library wants {}",
                        place,
                        module->version,
                        kernels::cuda::kModuleVersion)
                  : fmt::format("\n  {}: is no module of sparknet's", place);
    dlclose(handle);
  }
  throw DeviceError(fmt::format(
      "the module for GPUs cannot be loaded; it is built where the CUDA Toolkit is (cmake -DSPARKNET_CUDA=ON):{}",
      why));
}

const Module& module() {
  static std::mutex mutex;
  static const Module* loaded = nullptr;
  const std::lock_guard lock(mutex);
  if (!loaded) loaded = &load();
  return *loaded;
}

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

/// How many GPUs there are, one at least.
int count_devices(const Module& cuda) {
  int count = 0;
  const char* const wrong = cuda.count_devices(&count);
  if (cuda.driver_version == 0) throw DeviceError("there is no NVIDIA driver, so no GPU can be used");
  if (wrong)
    throw DeviceError(fmt::format(
        "no GPU can be used: {} (the driver knows CUDA {}, and the module was built with {})",
        wrong,
        version_text(cuda.driver_version),
        version_text(cuda.runtime_version)));
  if (count == 0) throw DeviceError("there is an NVIDIA driver and no GPU");
  return count;
}

}  // namespace

std::vector<CudaDevice> cuda_devices() {
  const Module& cuda = module();
  const int count = count_devices(cuda);
  std::vector<CudaDevice> devices;
  for (int index = 0; index < count; ++index) {
    kernels::cuda::DeviceInfo info{};
    if (const char* why = cuda.describe_device(index, &info))
      throw DeviceError(fmt::format("{} cannot be used: {}", to_string(Device::cuda(index)), why));
    info.name[sizeof info.name - 1] = '\0';
    devices.push_back(
        {Device::cuda(index),
         info.name,
         info.major,
         info.minor,
         info.multiprocessors,
         info.memory_bytes,
         info.free_bytes});
  }
  return devices;
}

std::shared_ptr<kernels::Backend> make_cuda_backend(const kernels::cuda::BackendOptions& options) {
  const Module& cuda = module();
  const int count = count_devices(cuda);
  if (options.device < 0 || options.device >= count)
    throw DeviceError(fmt::format("this machine has {} GPU{}, numbered from 0", count, count == 1 ? "" : "s"));
  kernels::Backend* made = nullptr;
  if (const char* why = cuda.make_backend(&options, &made)) throw DeviceError(why);
  return std::shared_ptr<kernels::Backend>(made);
}

std::shared_ptr<void> make_shared_memory(std::size_t bytes) {
  const Module& cuda = module();
  void* memory = nullptr;
  if (const char* why = cuda.allocate_shared(bytes, &memory)) throw DeviceError(why);
  return {memory, cuda.release_shared};
}

}  // namespace sparknet
