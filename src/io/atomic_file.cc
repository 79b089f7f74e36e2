#include "src/io/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "sparknet/error.h"

namespace sparknet::detail {
namespace {

/// A file being written that removes itself unless it is kept.
class Temporary {
 public:
  Temporary(const std::filesystem::path& target, std::string name) : target_(target), name_(std::move(name)) {
    descriptor_ = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor_ < 0) fail("cannot be created");
  }
  ~Temporary() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!kept_) ::unlink(name_.c_str());
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  void write(std::span<const std::byte> content) {
    while (!content.empty()) {
      const ssize_t written = ::write(descriptor_, content.data(), content.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail("cannot be written");
      content = content.subspan(static_cast<std::size_t>(written));
    }
  }

  void keep() {
    if (::fsync(descriptor_) != 0) fail("cannot be brought to the disk");
    const int closed = ::close(descriptor_);
    descriptor_ = -1;
    if (closed != 0) fail("cannot be closed");
    if (::rename(name_.c_str(), target_.c_str()) != 0) fail("cannot be renamed from " + name_);
    kept_ = true;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(target_.string(), -1, what + ": " + std::strerror(errno));
  }

  const std::filesystem::path& target_;
  std::string name_;
  int descriptor_ = -1;
  bool kept_ = false;
};

}  // namespace

void write_atomically(const std::filesystem::path& file, std::span<const std::byte> content) {
  Temporary temporary(file, file.string() + ".tmp" + std::to_string(::getpid()));
  temporary.write(content);
  temporary.keep();
  // The name itself is on the disk only when its folder is; where a folder cannot be synced nothing more can be done.
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  if (const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); descriptor >= 0) {
    ::fsync(descriptor);
    ::close(descriptor);
  }
}

}  // namespace sparknet::detail
