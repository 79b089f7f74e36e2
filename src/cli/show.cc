#include <fmt/format.h>

#include <span>

#include "sparknet/caffe/prototxt.h"
#include "sparknet/cuda.h"
#include "src/cli/commands.h"
#include "src/io/atomic_file.h"

namespace sparknet::cli {

int summary(const NetArguments& arguments) {
  fmt::print("{}", Net::summary(caffe::read_net(arguments.model), net_options(arguments)));
  return 0;
}

int device_query() {
  constexpr double gib = 1024.0 * 1024 * 1024;
  for (const CudaDevice& gpu : cuda_devices())
    fmt::print(
        "{}: {}, sm_{}{}, {} multiprocessors, {:.1f} GiB of which {:.1f} are free\n",
        to_string(gpu.device),
        gpu.name,
        gpu.major,
        gpu.minor,
        gpu.multiprocessors,
        static_cast<double>(gpu.memory_bytes) / gib,
        static_cast<double>(gpu.free_bytes) / gib);
  return 0;
}

int draw(const DrawArguments& arguments) {
  const std::string dot = open_net(arguments.net).dot();
  if (arguments.out.empty())
    fmt::print("{}", dot);
  else
    detail::write_atomically(arguments.out, std::as_bytes(std::span(dot)));
  return 0;
}

}  // namespace sparknet::cli
