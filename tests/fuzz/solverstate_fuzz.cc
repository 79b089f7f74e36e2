// A solver's state in Caffe's binary format.

#include <cstdlib>

#include "src/caffe/model_file.h"
#include "src/caffe/proto.h"
#include "src/caffe/solver_state_file.h"
#include "tests/fuzz/seeds.h"

using namespace sparknet;
using namespace sparknet::caffe;

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  proto::SolverState state;
  state.set_iter(100);
  state.set_learned_net("x.caffemodel");
  state.set_current_step(1);
  state.add_history()->add_data(1);
  proto::BlobProto& old = *state.add_history();
  old.set_num(1), old.set_channels(1), old.set_height(1), old.set_width(2);
  old.add_data(1), old.add_data(2);
  const std::string text = state.SerializeAsString();
  plant_seeds(*argc, *argv, {Bytes(text.begin(), text.end())});
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> input = std::as_bytes(std::span(data, size));
  if (is_hdf5(input)) return 0;
  try {
    const StateFile state = parse_state("input", input);
    if (state.iteration < 0) std::abort();
    for (const Tensor& values : state.history)
      if (values.copy().bytes() > 2 * size) std::abort();
  } catch (const DataError&) {
  }
  return 0;
}
