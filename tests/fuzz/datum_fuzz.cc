// An example of a database.

#include <cstdlib>

#include "sparknet/error.h"
#include "src/caffe/datum.h"
#include "src/caffe/proto.h"
#include "tests/caffe/image_files.h"
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
  std::vector<Bytes> seeds;
  const auto plant = [&](const proto::Datum& datum) {
    const std::string text = datum.SerializeAsString();
    seeds.emplace_back(text.begin(), text.end());
  };
  plant(bytes);
  plant(floats);
  // An image of each kind that can be written here.
  proto::Datum image;
  image.set_label(3);
  image.set_encoded(true);
  for (const int channels : {1, 3, 4}) {
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(8 * 16 * channels));
    for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 37 % 251);
#ifdef SPARKNET_WITH_PNG
    image.set_data(png_file(pixels, 8, 16, channels));
    plant(image);
#endif
#ifdef SPARKNET_WITH_JPEG
    if (channels == 4) continue;
    image.set_data(jpeg_file(pixels, 8, 16, channels));
    plant(image);
#endif
  }
  plant_seeds(*argc, *argv, seeds);
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
