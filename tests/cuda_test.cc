#include "sparknet/cuda.h"

#include <doctest/doctest.h>

#include <cstdlib>

#include "sparknet/error.h"
#include "sparknet/net.h"
#include "tests/nets.h"
#include "tests/place.h"

using namespace sparknet;

namespace {

std::string trouble() {
  try {
    cuda_devices();
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "none";
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// The same from a module that is not, or that the tests made.
std::string trouble_of(const std::string& module) {
  setenv("SPARKNET_CUDA_MODULE", module.c_str(), 1);
  return trouble();
}

}  // namespace

// In one, as the first module that fits stays loaded.
TEST_CASE("what is missing for GPUs is said, and what is there is listed") {
  if (test::on_gpu()) return;  // with a module that is none of these
  const std::string folder = FAKE_MODULES;
  CHECK(has(trouble_of("/nowhere/module.so"), "the module for GPUs cannot be loaded"));
  CHECK(has(trouble(), "/nowhere/module.so: cannot open shared object file"));
  CHECK(has(trouble_of(folder + "/libno_cuda_module.so"), "libno_cuda_module.so: is no module of sparknet's"));
  CHECK(has(trouble_of(folder + "/libold_cuda_module.so"), "libold_cuda_module.so: is of version 0, and this library"));

  setenv("FAKE_CUDA", "0 0", 1);
  CHECK(trouble_of(folder + "/libfake_cuda_module.so") == "there is no NVIDIA driver, so no GPU can be used");
  setenv("FAKE_CUDA", "12080 -1", 1);
  CHECK(
      trouble() ==
      "no GPU can be used: it does not want to (the driver knows CUDA 12.8, and the module was built with "
      "13.0)");
  setenv("FAKE_CUDA", "13000 0", 1);
  CHECK(trouble() == "there is an NVIDIA driver and no GPU");
  setenv("FAKE_CUDA", "13000 3", 1);
  CHECK(trouble() == "cuda:2 cannot be used: it is broken");
  setenv("FAKE_CUDA", "13000 2", 1);
  const std::vector<CudaDevice> devices = cuda_devices();
  REQUIRE(devices.size() == 2);
  CHECK(devices[1].device == Device::cuda(1));
  CHECK(devices[1].name == "a GPU of paper");
  CHECK(devices[1].major == 9);
  CHECK(devices[1].minor == 1);
  CHECK(devices[1].memory_bytes == 1000);
  CHECK(devices[1].free_bytes == 100);

  const auto trouble_on = [](Device device) -> std::string {
    try {
      Net(testing::small_lenet(2), {.device = device});
    } catch (const DeviceError& error) {
      return error.what();
    }
    return "none";
  };
  const std::string who = "net \"small LeNet\" asks for ";
  CHECK(trouble_on(Device::cuda(1)) == who + "cuda:1: paper computes nothing");
  CHECK(trouble_on(Device::cuda(2)) == who + "cuda:2: this machine has 2 GPUs, numbered from 0");
  CHECK(trouble_on(Device::cuda(-1)) == who + "cuda:-1: this machine has 2 GPUs, numbered from 0");
}
