#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace sparknet::detail {

/// A file that is whole or not there: written under a temporary name beside it, brought to the disk and renamed by
/// commit(); without that, removed. All throw DataError that names the file and what the system said.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path file);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> content);
  void commit();

 private:
  [[noreturn]] void fail(const std::string& what) const;

  std::filesystem::path target_;
  std::string name_;
  int descriptor_ = -1;
  bool kept_ = false;
};

/// Gives what was made under another name, and is on the disk, its own; the folder with the name is brought to the disk
/// too. Throws DataError that names `target`.
void rename_made(const std::filesystem::path& made, const std::filesystem::path& target);

void write_atomically(const std::filesystem::path& file, std::span<const std::byte> content);

}  // namespace sparknet::detail
