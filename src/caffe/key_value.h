#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "sparknet/shape.h"

namespace sparknet::caffe {

/// What is stored under the keys of an open database, by the keys' order. For any number of threads.
class KeyValues {
 public:
  virtual ~KeyValues() = default;
  virtual Dim size() const = 0;
  virtual std::string key(Dim index) const = 0;
  /// The value, where it lies or in `buffer`.
  virtual std::span<const std::byte> value(Dim index, std::string& buffer) const = 0;
};

/// Adds values to a database that it makes in a new folder. finish() brings it to the disk and closes it.
class KeyValueWriter {
 public:
  virtual ~KeyValueWriter() = default;
  virtual void put(const std::string& key, std::string_view value) = 0;
  virtual void finish() = 0;
};

std::shared_ptr<const KeyValues> open_lmdb(const std::filesystem::path& folder);
std::shared_ptr<const KeyValues> open_leveldb(const std::filesystem::path& folder);
/// `bytes`: at least what keys and values take up.
std::unique_ptr<KeyValueWriter> make_lmdb(const std::filesystem::path& folder, std::size_t bytes);
std::unique_ptr<KeyValueWriter> make_leveldb(const std::filesystem::path& folder);

}  // namespace sparknet::caffe
