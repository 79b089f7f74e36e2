#include "src/io/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "sparknet/error.h"

namespace sparknet::detail {
namespace {

[[noreturn]] void fail_to_write(const std::filesystem::path& target, const std::string& what) {
  throw DataError(target.string(), -1, what + ": " + std::strerror(errno));
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path file)
    : target_(std::move(file)), name_(target_.string() + ".tmp" + std::to_string(::getpid())) {
  descriptor_ = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail("cannot be created");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!kept_) ::unlink(name_.c_str());
}

void AtomicFile::write(std::span<const std::byte> content) {
  while (!content.empty()) {
    const ssize_t written = ::write(descriptor_, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot be written");
    content = content.subspan(static_cast<std::size_t>(written));
  }
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail("cannot be brought to the disk");
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  if (closed != 0) fail("cannot be closed");
  rename_made(name_, target_);
  kept_ = true;
}

void AtomicFile::fail(const std::string& what) const {
  fail_to_write(target_, what);
}

void rename_made(const std::filesystem::path& made, const std::filesystem::path& target) {
  if (::rename(made.c_str(), target.c_str()) != 0) fail_to_write(target, "cannot be renamed from " + made.string());
  // The name itself is on the disk only when its folder is; where a folder cannot be synced nothing more can be done.
  const std::filesystem::path folder = target.has_parent_path() ? target.parent_path() : std::filesystem::path(".");
  if (const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); descriptor >= 0) {
    ::fsync(descriptor);
    ::close(descriptor);
  }
}

void write_atomically(const std::filesystem::path& file, std::span<const std::byte> content) {
  AtomicFile whole(file);
  whole.write(content);
  whole.commit();
}

}  // namespace sparknet::detail
