// An example of a database.

#include <cstdlib>

#include "sparknet/error.h"
#include "src/caffe/datum.h"
#include "src/caffe/proto.h"
#include "tests/fuzz/seeds.h"

using namespace sparknet;
using namespace sparknet::caffe;

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  proto::Datum bytes, floats;
  for (proto::Datum* datum : {&bytes, &floats}) {
    datum->set_channels(1);
    datum->set_height(2);
    datum->set_width(2);
    datum->set_label(3);
  }
  bytes.set_data("abcd");
  for (int i = 0; i < 4; ++i) floats.add_float_data(static_cast<float>(i));
  const std::string a = bytes.SerializeAsString(), b = floats.SerializeAsString();
  plant_seeds(*argc, *argv, {Bytes(a.begin(), a.end()), Bytes(b.begin(), b.end())});
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    proto::Datum datum;
    parse("input", std::as_bytes(std::span(data, size)), datum);
    if (datum.data().size() + 4 * static_cast<std::size_t>(datum.float_data_size()) > size) std::abort();
  } catch (const DataError&) {
  }
  for (const DecodeAs decode : {DecodeAs::Native, DecodeAs::Color, DecodeAs::Gray}) try {
      DatumReader reader(decode);
      reader.read("input", std::as_bytes(std::span(data, size)));
      if (reader.values().size() != static_cast<std::size_t>(reader.shape().count()) * size_of(reader.dtype()))
        std::abort();
    } catch (const DataError&) {
    }
  return 0;
}
