#include <cstdlib>

#include "sparknet/data/cifar.h"
#include "sparknet/error.h"
#include "tests/fuzz/seeds.h"

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  Bytes wrong_label = cifar_records(1);
  wrong_label[0] = 10;
  plant_seeds(
      *argc,
      *argv,
      {cifar_records(1), cifar_records(2), gzip_stored(cifar_records(1)), wrong_label, Bytes(100)});
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const MemoryFile file(data, size);
  try {
    const sparknet::SourcePtr source = sparknet::read_cifar10({file.path(), file.path()});
    if (source->size() % 2 != 0) std::abort();
    for (sparknet::Dim i = 0; i < source->size(); ++i) {
      const volatile std::byte last = source->example(i, 0, nullptr)[3071];
      static_cast<void>(last);
      if (std::to_integer<int>(source->example(i, 1, nullptr)[0]) > 9) std::abort();
    }
  } catch (const sparknet::DataError&) {
  }
  return 0;
}
