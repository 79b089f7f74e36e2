// A module as libsparknet_cuda.so is one, for machines without a GPU: what it has is in the variable FAKE_CUDA, "driver
// devices", and the device after the last is broken.

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/cuda/module.h"

namespace {

using namespace sparknet::kernels::cuda;

Module module{FAKE_VERSION, 13000, 0, nullptr, nullptr, nullptr, nullptr, nullptr};

const char* count_devices(int* count) {
  std::sscanf(std::getenv("FAKE_CUDA"), "%d %d", &module.driver_version, count);
  return *count < 0 ? "it does not want to" : nullptr;
}

const char* describe_device(int index, DeviceInfo* info) {
  if (index > 1) return "it is broken";
  std::memcpy(info->name, "a GPU of paper", 15);
  info->major = 9;
  info->minor = index;
  info->memory_bytes = 1000;
  info->free_bytes = 100;
  return nullptr;
}

const char* make_backend(const BackendOptions*, sparknet::kernels::Backend**) {
  return "paper computes nothing";
}

}  // namespace

extern "C" const Module* FAKE_FUNCTION() {
  module.count_devices = count_devices;
  module.describe_device = describe_device;
  module.make_backend = make_backend;
  return &module;
}
