#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "sparknet/tensor.h"

namespace sparknet::caffe {

/// A `.solverstate` as data.
struct StateFile {
  std::int64_t iteration = 0, current_step = 0;
  std::string learned_net;
  /// For each slot of the update rule one array for each parameter, slot after slot.
  std::vector<Tensor> history;
};

StateFile read_state(const std::filesystem::path& file);
/// For the content of a file that is called `file` in messages.
StateFile parse_state(const std::string& file, std::span<const std::byte> bytes);

}  // namespace sparknet::caffe
