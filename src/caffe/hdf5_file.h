#pragma once

// HDF5 files, as far as Caffe's are concerned: groups of arrays of numbers, whole numbers and texts. Built without
// HDF5, the constructors throw. A path in a file is "data/conv1/0". Every failure is a DataError that names the file
// and the path in it; HDF5 prints nothing. Any number of threads may use objects of their own.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sparknet/tensor.h"

namespace sparknet::caffe {

/// One of HDF5's numbers for things that are open; closed when it goes.
class Hdf5Handle {
 public:
  Hdf5Handle() = default;
  explicit Hdf5Handle(std::int64_t id) : id_(id) {}
  ~Hdf5Handle() { close(); }
  Hdf5Handle(Hdf5Handle&& other) noexcept : id_(std::exchange(other.id_, -1)) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }

  std::int64_t id() const { return id_; }
  /// False where HDF5 could not.
  bool close();

 private:
  std::int64_t id_ = -1;
};

class Hdf5Reader {
 public:
  explicit Hdf5Reader(const std::filesystem::path& file);
  /// The content of a file that is called `name` in messages.
  Hdf5Reader(std::string name, std::span<const std::byte> content);

  const std::string& name() const { return name_; }
  /// Bytes of the file.
  std::uint64_t size() const;

  enum class Kind : std::uint8_t { None, Group, Dataset, Other };
  Kind kind(const std::string& path) const;
  /// What a group holds, sorted by name.
  std::vector<std::string> names(const std::string& group) const;

  struct Info {
    Shape shape;
    /// That which holds the numbers of the file: f32 for short floats, u8, i32 and f64 for integers that want so much.
    DType dtype;
  };
  Info info(const std::string& path) const;

  /// A whole array, as what it is or converted. Refuses an array that says it is far larger than what the file holds.
  Tensor read(const std::string& path, std::optional<DType> as = {}) const;
  /// An array of one whole number.
  std::int64_t read_int(const std::string& path) const;
  std::string read_text(const std::string& path) const;

  [[noreturn]] void fail(const std::string& path, const std::string& why) const;

 private:
  void opened(std::int64_t id);
  Hdf5Handle open_dataset(const std::string& path) const;
  Info info(const std::string& path, const Hdf5Handle& dataset) const;
  /// Bytes of an array as it is stored: what the file says, which may lie, but no more than there is.
  std::uint64_t stored_size(const Hdf5Handle& dataset) const;

  std::string name_;
  Hdf5Handle file_;
};

/// Writes a file that is whole or not there: until commit() it has a temporary name, and without that it is removed.
class Hdf5Writer {
 public:
  explicit Hdf5Writer(std::filesystem::path file);
  ~Hdf5Writer();
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;

  /// Makes an empty group. The groups on the way to anything are made as needed.
  void group(const std::string& path);
  void write(const std::string& path, const Tensor& values);
  void write_int(const std::string& path, std::int32_t value);
  void write_text(const std::string& path, const std::string& text);
  /// Adds rows to an array that grows along its first axis; the first call makes it.
  void append(const std::string& path, const Tensor& rows);
  void commit();

 private:
  [[noreturn]] void fail(const std::string& path, const std::string& why) const;

  std::filesystem::path target_;
  std::string name_;
  Hdf5Handle file_, create_groups_;
};

}  // namespace sparknet::caffe
