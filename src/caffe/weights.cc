#include "sparknet/caffe/weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <memory>

#include "src/caffe/blob_proto.h"
#include "src/caffe/catalog.h"
#include "src/caffe/hdf5_file.h"
#include "src/caffe/model_file.h"
#include "src/caffe/net_blobs.h"
#include "src/caffe/proto.h"
#include "src/caffe/upgrade.h"
#include "src/io/file.h"

namespace sparknet::caffe {
namespace {

LayerBlobs read_layer(
    const std::shared_ptr<proto::NetParameter>& net, const std::string& name, std::string_view type,
    google::protobuf::RepeatedPtrField<proto::BlobProto>& blobs, const std::string& file) {
  LayerBlobs layer{name, std::string(type), {}};
  for (int i = 0; i < blobs.size(); ++i)
    layer.blobs.push_back(blob_tensor(net, *blobs.Mutable(i), file, fmt::format("layer \"{}\", blob {}:", name, i)));
  return layer;
}

/// What may still be read of a file; what is linked twice counts twice.
struct Budget {
  std::size_t links;
  Dim numbers;
};

/// A group with arrays "0", "1" and so on is a layer; groups in it are layers whose names have a slash.
void read_group(
    const Hdf5Reader& in, const std::string& path, const std::string& name, int depth, Budget& left, Model& model) {
  if (depth > 32) in.fail(path, "groups lie in groups more than 32 deep");
  LayerBlobs layer{name, "", {}};
  std::vector<std::string> groups;
  for (const std::string& child : in.names(path)) {
    if (left.links-- == 0) in.fail(path, "the file holds more than 100000 groups and arrays");
    const std::string at = path + "/" + child;
    if (in.kind(at) == Hdf5Reader::Kind::Group) {
      groups.push_back(child);
      continue;
    }
    if (child.size() > 3 || child.find_first_not_of("0123456789") != std::string::npos)
      in.fail(at, "is no number of a blob");
    const std::size_t index = std::stoul(child);
    if (index >= layer.blobs.size()) layer.blobs.resize(index + 1);
    layer.blobs[index] = in.read(at, in.info(at).dtype == DType::F64 ? DType::F64 : DType::F32);
    left.numbers -= layer.blobs[index].count();
    if (left.numbers < 0) in.fail(at, "the arrays hold more than the file can");
  }
  if (!layer.blobs.empty()) model.layers.push_back(std::move(layer));
  for (const std::string& child : groups)
    read_group(in, path + "/" + child, name.empty() ? child : name + "/" + child, depth + 1, left, model);
}

Model read_hdf5_model(const Hdf5Reader& in) {
  Model model{in.name(), "", {}};
  if (in.kind("data") != Hdf5Reader::Kind::Group) in.fail("data", "there is no such group; is this a model?");
  Budget left{.links = 100'000, .numbers = 1100 * static_cast<Dim>(in.size())};  // deflate packs at most 1032 to 1
  read_group(in, "data", "", 0, left, model);
  return model;
}

/// What the file says of a layer beside its blobs.
proto::LayerParameter describe(const LayerParam& layer) {
  if (!caffes_type(layer.type()).empty()) {
    try {
      return write_layer(layer);
    } catch (const BadInput&) {  // some option has no place in Caffe's messages, and weights are loaded by name
    }
  }
  proto::LayerParameter message;
  message.set_name(layer.name());
  message.set_type(std::string(layer.type()));
  for (const std::string& bottom : layer.inputs()) message.add_bottom(bottom);
  for (const std::string& top : layer.tops()) message.add_top(top);
  return message;
}

[[noreturn]] void misfit(const Model& model, const Net& net, const std::string& why) {
  throw ShapeError(fmt::format(
      "{} does not fit net \"{}\": {} in the net\n  to train this layer from scratch, give it another name",
      model.file,
      net.param().name,
      why));
}

}  // namespace

bool is_hdf5(std::span<const std::byte> bytes) {
  constexpr std::string_view signature = "\x89HDF\r\n\x1a\n";
  const std::span<const std::byte> wanted = std::as_bytes(std::span(signature));
  return bytes.size() >= wanted.size() && std::equal(wanted.begin(), wanted.end(), bytes.begin());
}

bool is_hdf5(const std::filesystem::path& file) {
  std::array<char, 8> begin{};
  std::ifstream(file, std::ios::binary).read(begin.data(), begin.size());
  return is_hdf5(std::as_bytes(std::span(begin)));
}

Model parse_model(const std::string& file, std::span<const std::byte> bytes) {
  if (is_hdf5(bytes)) return read_hdf5_model(Hdf5Reader(file, bytes));
  const auto is_text = [](std::byte byte) {
    const auto c = std::to_integer<unsigned char>(byte);
    return (c >= ' ' && c < 127) || c == '\t' || c == '\n' || c == '\r';
  };
  if (const auto begin = bytes.first(std::min<std::size_t>(bytes.size(), 64));
      !begin.empty() && std::ranges::all_of(begin, is_text))
    throw DataError(file, -1, "is a text, and Caffe's weights are a .caffemodel or a .h5 file");
  const auto net = std::make_shared<proto::NetParameter>();
  parse(file, bytes, *net);
  if (net->layer_size() == 0 && net->layers_size() == 0)
    throw DataError(file, -1, "has no layers; is it a model of Caffe's?");
  Model model{file, net->name(), {}};
  for (proto::V1LayerParameter& layer : *net->mutable_layers()) {
    if (layer.has_layer()) {
      proto::V0LayerParameter& old = *layer.mutable_layer();
      model.layers.push_back(read_layer(net, old.name(), type_name(v0_type(old.type())), *old.mutable_blobs(), file));
    } else {
      model.layers.push_back(read_layer(net, layer.name(), type_name(layer.type()), *layer.mutable_blobs(), file));
    }
  }
  for (proto::LayerParameter& layer : *net->mutable_layer())
    model.layers.push_back(read_layer(net, layer.name(), layer.type(), *layer.mutable_blobs(), file));
  return model;
}

Model read_model(const std::filesystem::path& file) {
  if (const std::string name = file.string(); name.ends_with(".solverstate") || name.ends_with(".solverstate.h5"))
    throw DataError(name, -1, "is the state of a solver; weights are in the .caffemodel that was written with it");
  if (is_hdf5(file)) return read_hdf5_model(Hdf5Reader(file));
  const detail::File content(file);
  return parse_model(content.name(), std::as_bytes(std::span(content.data(), content.size())));
}

std::string to_string(const CopyReport& report) {
  std::string text = fmt::format("copied the weights of {} layers", report.copied.size());
  const auto list = [&](const char* what, const std::vector<std::string>& names) {
    if (!names.empty()) text += fmt::format("{}\"{}\"", what, fmt::join(names, "\", \""));
  };
  list("; not in the net: ", report.ignored);
  list("; not in the file, so left as they were: ", report.kept);
  return text;
}

CopyReport copy_weights(Net& net, const Model& model) {
  CopyReport report;
  WeightCollection weights = net.weights();
  const std::vector<NetLayerBlobs> layers = net_blobs(net);
  std::map<std::string, const NetLayerBlobs*, std::less<>> by_name;
  for (const NetLayerBlobs& layer : layers) by_name[layer.param->name()] = &layer;
  std::vector<bool> filled(net.params().size(), false);
  for (const LayerBlobs& source : model.layers) {
    const auto found = by_name.find(source.name);
    if (found == by_name.end()) {
      if (!source.blobs.empty()) report.ignored.push_back(source.name);
      continue;
    }
    const std::vector<NetBlob>& targets = found->second->blobs;
    const auto is_owned = [](const NetBlob& blob) { return blob.owned; };
    // HDF5 leaves out what is shared, so the last ones may be missing.
    const bool fits =
        source.blobs.size() == targets.size() ||
        (source.type.empty() && source.blobs.size() < targets.size() &&
         std::none_of(targets.begin() + static_cast<std::ptrdiff_t>(source.blobs.size()), targets.end(), is_owned));
    if (!fits)
      misfit(
          model,
          net,
          fmt::format(
              "layer \"{}\" has {} blobs there and {} parameters",
              source.name,
              source.blobs.size(),
              targets.size()));
    for (std::size_t i = 0; i < source.blobs.size(); ++i) {
      const ParamInfo& info = net.params()[targets[i].index];
      const Tensor& values = source.blobs[i];
      if (!values.defined() && !targets[i].owned) continue;
      if (!same_blob_shape(values.shape(), targets[i].shape))
        misfit(
            model,
            net,
            fmt::format(
                "blob {} of layer \"{}\" is {} there and \"{}\" is {}",
                i,
                source.name,
                values.defined() ? to_string(values.shape()) : "missing",
                info.full_name(),
                to_string(targets[i].shape)));
      weights.tensor(targets[i].index).copy_from(values.cast(weights.dtype()).reshape(info.shape));
      filled[targets[i].index] = true;
    }
    if (!source.blobs.empty()) report.copied.push_back(source.name);
  }
  for (const NetLayerBlobs& layer : layers)
    if (std::any_of(layer.blobs.begin(), layer.blobs.end(), [&](const NetBlob& blob) { return !filled[blob.index]; }))
      report.kept.push_back(layer.param->name());
  net.set_weights(weights);
  return report;
}

CopyReport copy_weights(Net& net, const std::filesystem::path& file) {
  return copy_weights(net, read_model(file));
}

void write_model(const Net& net, const std::filesystem::path& file) {
  const WeightCollection weights = net.weights();
  if (file.extension() == ".h5") {
    Hdf5Writer out(file);
    out.group("data");
    for (const NetLayerBlobs& layer : net_blobs(net))
      for (std::size_t i = 0; i < layer.blobs.size(); ++i)
        if (layer.blobs[i].owned)
          out.write(fmt::format("data/{}/{}", layer.param->name(), i), weights.tensor(layer.blobs[i].index));
    out.commit();
    return;
  }
  proto::NetParameter message;
  message.set_name(net.param().name);
  for (const NetLayerBlobs& from : net_blobs(net)) {
    proto::LayerParameter& layer = *message.add_layer();
    layer = describe(*from.param);
    for (const NetBlob& blob : from.blobs)
      fill_blob(weights.tensor(blob.index).reshape(blob.shape), *layer.add_blobs());
  }
  write_message(file, message);
}

}  // namespace sparknet::caffe
