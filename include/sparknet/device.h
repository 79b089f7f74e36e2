#pragma once

#include <cstdint>
#include <string>

namespace sparknet {

/// Where memory lies and work is done.
struct Device {
  enum class Type : std::uint8_t { Cpu, Cuda };

  Type type = Type::Cpu;
  /// Which of the devices of this type, from 0.
  int index = 0;

  static constexpr Device cpu() { return {}; }
  static constexpr Device cuda(int which = 0) { return {Type::Cuda, which}; }

  friend constexpr bool operator==(Device a, Device b) { return a.type == b.type && a.index == b.index; }
  friend constexpr bool operator!=(Device a, Device b) { return !(a == b); }
};

/// "cpu", "cuda:0", "cuda:1"
inline std::string to_string(Device device) {
  return device.type == Device::Type::Cpu ? "cpu" : "cuda:" + std::to_string(device.index);
}

}  // namespace sparknet
