// HDF5 files that are whole, with anything in them: an input says which groups, arrays and texts. (Hostile bytes are
// HDF5's own matter.)

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "src/caffe/hdf5_file.h"
#include "src/caffe/model_file.h"
#include "src/caffe/solver_state_file.h"
#include "src/io/file.h"

using namespace sparknet;
using namespace sparknet::caffe;

namespace {

class Script {
 public:
  Script(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}
  bool ended() const { return rest_.empty(); }
  std::size_t below(std::size_t n) {
    if (rest_.empty()) return 0;
    const std::size_t value = rest_[0] % n;
    rest_ = rest_.subspan(1);
    return value;
  }

 private:
  std::span<const std::uint8_t> rest_;
};

std::string path(Script& script) {
  const char* const names[] =
      {"data", "history", "iter", "learned_net", "current_step", "ip1", "0", "1", "00", "x", "999", "-1"};
  std::string path = names[script.below(std::size(names))];
  for (std::size_t more = script.below(4); more > 0; --more)
    path += "/" + std::string(names[script.below(std::size(names))]);
  return path;
}

Tensor tensor(Script& script) {
  const DType dtypes[] = {DType::F32, DType::F64, DType::U8, DType::I32};
  const DType dtype = dtypes[script.below(4)];
  Shape shape;
  for (std::size_t rank = script.below(6); rank > 0; --rank) shape.push_back(static_cast<Dim>(script.below(4)));
  return Tensor(shape, dtype).fill(static_cast<double>(script.below(256)) - 100);
}

void write(Script& script, const std::filesystem::path& file) {
  Hdf5Writer out(file);
  while (!script.ended()) {
    try {
      switch (script.below(5)) {
        case 0: out.group(path(script)); break;
        case 1: out.write(path(script), tensor(script)); break;
        case 2: out.append(path(script), tensor(script)); break;
        case 3: out.write_int(path(script), static_cast<std::int32_t>(script.below(256)) - 100); break;
        case 4: out.write_text(path(script), std::string(script.below(10), 'x')); break;
      }
    } catch (const DataError&) {
    }
  }
  out.commit();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // In memory where there is such a folder: what is brought to a disk takes a while.
  static const std::filesystem::path folder =
      std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path();
  static const std::filesystem::path file = folder / ("hdf5_fuzz." + std::to_string(::getpid()));
  Script script(data, std::min<std::size_t>(size, 400));
  write(script, file);
  const detail::File content(file);
  std::filesystem::remove(file);
  const std::span<const std::byte> bytes = std::as_bytes(std::span(content.data(), content.size()));
  try {
    for (const LayerBlobs& layer : parse_model("input", bytes).layers)
      if (layer.blobs.empty() || layer.blobs.size() > 1000) std::abort();
  } catch (const DataError&) {
  }
  try {
    if (parse_state("input", bytes).iteration < 0) std::abort();
  } catch (const DataError&) {
  }
  return 0;
}
