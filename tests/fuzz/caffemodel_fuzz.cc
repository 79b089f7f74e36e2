// A model in Caffe's binary format: its weights, and the net that it is, upgraded. (HDF5's own format is not ours to
// test.)

#include <cstdlib>

#include "src/caffe/model_file.h"
#include "src/caffe/upgrade.h"
#include "tests/fuzz/seeds.h"

using namespace sparknet;
using namespace sparknet::caffe;

namespace {

Bytes bytes_of(const google::protobuf::Message& message) {
  const std::string text = message.SerializePartialAsString();
  return {text.begin(), text.end()};
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  proto::NetParameter now, v1, v0;
  now.add_layer()->set_name("ip");
  now.mutable_layer(0)->add_blobs()->add_data(1);
  now.mutable_layer(0)->mutable_blobs(0)->mutable_shape()->add_dim(1);
  now.add_layer()->add_blobs()->add_double_data(1);
  proto::V1LayerParameter& layer = *v1.add_layers();
  layer.set_type(proto::V1LayerParameter::DATA);
  layer.mutable_data_param()->set_scale(2);
  layer.add_blobs()->set_num(0);
  layer.add_param("w");
  layer.add_blobs_lr(1);
  v1.add_input("in");
  for (int i = 0; i < 4; ++i) v1.add_input_dim(1);
  v0.add_layers()->mutable_layer()->set_type("padding");
  v0.mutable_layers(0)->add_bottom("x");
  v0.mutable_layers(0)->add_top("p");
  v0.add_layers()->mutable_layer()->set_type("conv");
  v0.mutable_layers(1)->mutable_layer()->set_num_output(3);
  v0.mutable_layers(1)->add_bottom("p");
  v0.add_input("x");
  plant_seeds(*argc, *argv, {bytes_of(now), bytes_of(v1), bytes_of(v0)});
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> input = std::as_bytes(std::span(data, size));
  if (is_hdf5(input)) return 0;
  try {
    for (const LayerBlobs& layer : parse_model("input", input).layers)
      for (const Tensor& blob : layer.blobs)
        if (blob.copy().bytes() > 2 * size) std::abort();  // no number is made up
  } catch (const DataError&) {
  }
  try {
    proto::NetParameter net;
    parse("input", input, net);
    upgrade(net, "input");
    if (!upgrade(net, "input").empty() || net.layers_size() > 0 || net.input_size() > 0) std::abort();
  } catch (const DataError&) {
  }
  return 0;
}
