#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace sparknet {

/// Anything the library throws. `what()` is complete: what is wrong, where, and a remedy where there is one.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Two shapes, or a shape and an index, that do not go together.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// An element type other than the one asked for.
class DTypeError : public Error {
 public:
  using Error::Error;
};

/// A file or a stream of examples that is not what it should be.
class DataError : public Error {
 public:
  /// `offset` is the byte in `file` where the trouble was seen; -1 where no byte can be named.
  DataError(std::string file, std::int64_t offset, const std::string& why)
      : Error(file + (offset < 0 ? "" : ", byte " + std::to_string(offset)) + ": " + why),
        file_(std::move(file)),
        offset_(offset) {}

  const std::string& file() const { return file_; }
  std::int64_t offset() const { return offset_; }

 private:
  std::string file_;
  std::int64_t offset_;
};

/// Where in a program a layer is written. As a default member initialiser it gives each layer its own line
/// on g++ >= 12 and clang >= 14 (std::source_location needs clang >= 16 with libstdc++).
struct Where {
  const char* file = "";
  int line = 0;

  static constexpr Where here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }

  /// The place is no part of a description's value: equal layers written on different lines are equal.
  friend constexpr bool operator==(const Where&, const Where&) { return true; }
};

/// A net that makes no sense, or a call that does not fit the net. The members say again what the text says.
class NetError : public Error {
 public:
  NetError(
      const std::string& text, std::string net, std::string layer = {}, Where where = {},
      std::vector<std::string> inputs = {})
      : Error(text), net_(std::move(net)), layer_(std::move(layer)), where_(where), inputs_(std::move(inputs)) {}

  const std::string& net() const { return net_; }
  /// Empty where the whole net is meant.
  const std::string& layer() const { return layer_; }
  Where where() const { return where_; }
  /// The names of the layer's bottoms.
  const std::vector<std::string>& inputs() const { return inputs_; }

 private:
  std::string net_, layer_;
  Where where_;
  std::vector<std::string> inputs_;
};

/// A device that cannot be had or that failed.
class DeviceError : public Error {
 public:
  using Error::Error;
};

}  // namespace sparknet
