// An input is the length of the label file in one byte, the label file, and the image file.

#include <algorithm>
#include <cstdlib>

#include "sparknet/data/mnist.h"
#include "sparknet/error.h"
#include "tests/fuzz/seeds.h"

namespace {

Bytes pair(const Bytes& labels, const Bytes& images) {
  Bytes bytes = {static_cast<std::uint8_t>(labels.size())};
  bytes.insert(bytes.end(), labels.begin(), labels.end());
  bytes.insert(bytes.end(), images.begin(), images.end());
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  const Bytes labels = idx_labels(3), images = idx_images(3, 4, 5);
  Bytes members = gzip_stored(images);
  for (const std::uint8_t byte : gzip_stored({})) members.push_back(byte);
  plant_seeds(
      *argc,
      *argv,
      {pair(labels, images),
       pair(idx_labels(2), images),
       pair(gzip_stored(labels), images),
       pair(labels, gzip_stored(images)),
       pair(labels, members),
       pair(images, labels),
       pair(labels, idx({0x803, 0xffffffff, 0xffffffff, 0xffffffff}, 9, 251))});
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return -1;
  const std::size_t label_size = std::min<std::size_t>(data[0], size - 1);
  const MemoryFile labels(data + 1, label_size), images(data + 1 + label_size, size - 1 - label_size);
  try {
    const sparknet::SourcePtr source = sparknet::read_mnist(images.path(), labels.path());
    for (sparknet::Dim i = 0; i < source->size(); ++i) {
      const std::size_t bytes = source->columns()[0].bytes();
      const volatile std::byte last = source->example(i, 0, nullptr)[bytes - 1];
      static_cast<void>(last);
      if (std::to_integer<int>(source->example(i, 1, nullptr)[0]) > 9) std::abort();
    }
  } catch (const sparknet::DataError&) {
  }
  return 0;
}
