#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstring>

#include "sparknet/cuda.h"
#include "sparknet/error.h"
#include "src/solo_layer.h"
#include "tests/place.h"

int main(int argc, char** argv) {
  if (sparknet::test::on_gpu()) {
    try {
      sparknet::cuda_devices();
    } catch (const sparknet::DeviceError& why) {
      std::printf("skipped: %s\n", why.what());
      return 0;
    }
    sparknet::solo_place() = {
        [](int) { return sparknet::test::make_gpu_backend(); },
        [](std::size_t bytes) {
          auto memory = sparknet::test::shared_memory(bytes);
          std::memset(memory.get(), 0, bytes);
          return memory;
        }};
  }
  return doctest::Context(argc, argv).run();
}
