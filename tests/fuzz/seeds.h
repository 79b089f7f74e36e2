#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/data/files.h"

/// A file without a place on a disk, for readers that want a path.
class MemoryFile {
 public:
  MemoryFile(const std::uint8_t* data, std::size_t size) : descriptor_(memfd_create("fuzz", 0)) {
    if (descriptor_ < 0 || write(descriptor_, data, size) != static_cast<ssize_t>(size))
      throw std::runtime_error("cannot make a file in memory");
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

/// Writes the seeds to the corpus, the first folder on the command line, where it is there and still empty.
inline void plant_seeds(int argc, char** argv, const std::vector<Bytes>& seeds) {
  for (int i = 1; i < argc; ++i) {
    if (argv[i][0] == '-' || !std::filesystem::is_directory(argv[i])) continue;
    if (!std::filesystem::is_empty(argv[i])) return;
    for (std::size_t seed = 0; seed < seeds.size(); ++seed)
      write_file(argv[i], "seed" + std::to_string(seed), seeds[seed]);
    return;
  }
}
