#include "src/caffe/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sparknet/caffe/blob.h"
#include "src/caffe/layers.h"
#include "src/suggest.h"

namespace sparknet::caffe {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw BadInput(why);
}

/// What is said of any layer, whatever its options.
template <class L>
LayerParam finished(L layer, const OptionReader& reader, Where where) {
  constexpr bool has_include = requires {
    layer.include;
  };
  if constexpr (has_include) layer.include = reader.include();
  layer.where = where;
  LayerParam param(std::move(layer));
  LayerExtras extras = reader.extras(param.tops(), has_include);
  return extras == LayerExtras() ? param : with(std::move(param), std::move(extras));
}

template <class L>
void read_options(OptionReader& reader, L& layer) {
  if constexpr (requires { &L::options; })
    decltype(L::options)::fields([&](const char* name, auto member) { reader.read(name, layer.options.*member); });
}

template <class L>
LayerParam read(const Line& line, const proto::LayerParameter& from, Where where) {
  L layer = blank<L>(from.name(), {from.bottom().begin(), from.bottom().end()});
  if constexpr (requires { layer.datasets; })  // which Caffe calls as the tops
    if (from.top_size() > 0) layer.datasets.assign(from.top().begin(), from.top().end());
  OptionReader reader(line, from);
  read_options(reader, layer);
  reader.finish();
  return finished(std::move(layer), reader, where);
}

proto::LayerParameter begin(const Line& line, const LayerParam& layer) {
  proto::LayerParameter to;
  to.set_name(layer.name());
  to.set_type(std::string(line.type));
  for (const std::string& bottom : layer.inputs()) to.add_bottom(bottom);
  for (const std::string& top : layer.tops()) to.add_top(top);
  if (line.mark) line.mark(to);
  return to;
}

/// The rows of a square matrix in a file of one blob.
void read_infogain(proto::InfogainLossParameter& param) {
  if (param.infogain_size() > 0) refuse("infogain_loss_param has both source and infogain, which are the same matrix");
  Tensor blob;
  try {
    blob = read_blob(param.source()).cast(DType::F32).flatten();
  } catch (const Error& error) {
    refuse(fmt::format("infogain_loss_param.source: {}", error.what()));
  }
  Dim rows = 0;
  while (rows * rows < blob.count()) ++rows;
  if (rows * rows != blob.count())
    refuse(fmt::format(
        "infogain_loss_param.source: {} has {} numbers, and no square matrix has",
        param.source(),
        blob.count()));
  for (Dim i = 0; i < rows; ++i) {
    proto::MatrixRow& row = *param.add_infogain();
    for (Dim j = 0; j < rows; ++j) row.add_value(blob.get<float>(i * rows + j));
  }
  param.clear_source();
}

/// What a layer of old options, and of options in files, says in those of today.
void modernise(proto::LayerParameter& layer) {
  if (layer.has_concat_param() && layer.concat_param().has_concat_dim()) {
    auto& param = *layer.mutable_concat_param();
    if (param.has_axis()) refuse("concat_dim is the old name of axis, and both are given");
    param.set_axis(static_cast<std::int32_t>(param.concat_dim()));
    param.clear_concat_dim();
  }
  if (layer.has_slice_param() && layer.slice_param().has_slice_dim()) {
    auto& param = *layer.mutable_slice_param();
    if (param.has_axis()) refuse("slice_dim is the old name of axis, and both are given");
    param.set_axis(static_cast<std::int32_t>(param.slice_dim()));
    param.clear_slice_dim();
  }
  if (layer.has_loss_param() && layer.loss_param().has_normalize()) {
    auto& param = *layer.mutable_loss_param();
    if (!param.has_normalization())
      param.set_normalization(param.normalize() ? proto::LossParameter::VALID : proto::LossParameter::BATCH_SIZE);
    param.clear_normalize();
  }
  if (layer.infogain_loss_param().has_source()) read_infogain(*layer.mutable_infogain_loss_param());
  // The one loss whose default is not the message's.
  if (layer.type() == "SigmoidCrossEntropyLoss" && !layer.loss_param().has_normalization())
    layer.mutable_loss_param()->set_normalization(proto::LossParameter::BATCH_SIZE);
  if (layer.has_dummy_data_param()) {
    auto& param = *layer.mutable_dummy_data_param();
    const int old = std::max({param.num_size(), param.channels_size(), param.height_size(), param.width_size()});
    if (old > 0 && param.shape_size() > 0) refuse("shape is given, and num, channels, height or width too");
    const auto at = [&](const auto& values, int i, const char* name) {
      if (values.size() != old && values.size() != 1)
        refuse(fmt::format("{} has {} values where others have {}", name, values.size(), old));
      return static_cast<std::int64_t>(values[values.size() == 1 ? 0 : i]);
    };
    for (int i = 0; i < old; ++i) {
      auto& shape = *param.add_shape();
      shape.add_dim(at(param.num(), i, "num"));
      shape.add_dim(at(param.channels(), i, "channels"));
      shape.add_dim(at(param.height(), i, "height"));
      shape.add_dim(at(param.width(), i, "width"));
    }
    param.clear_num(), param.clear_channels(), param.clear_height(), param.clear_width();
  }
}

template <class L>
proto::LayerParameter write(const Line& line, const LayerParam& param) {
  proto::LayerParameter to = begin(line, param);
  if constexpr (requires { &L::datasets; })
    if (param.tops() != param.as<L>()->datasets) refuse("its tops have other names than its datasets");
  OptionWriter writer(line, to);
  if constexpr (requires { &L::options; }) {
    const auto& options = param.as<L>()->options;
    proto::LayerParameter nothing;
    nothing.set_type(to.type());
    modernise(nothing);
    OptionReader reader(line, nothing);
    std::remove_cvref_t<decltype(options)> absent{};
    std::remove_cvref_t<decltype(options)>::fields([&](const char* name, auto member) {
      reader.read(name, absent.*member);
      writer.write(name, options.*member, absent.*member);
    });
  }
  writer.finish(param);
  return to;
}

// SparkNet's input and Caffe's are one type in a file, which Caffe can read; a message that Caffe does not look at
// there tells them apart.
const Line rdd_line{
    .type = "Input",
    .messages = {"input_param"},
    .takes = [](const proto::LayerParameter& layer) { return layer.has_memory_data_param(); },
    .mark = [](proto::LayerParameter& layer) { layer.mutable_memory_data_param(); }};

LayerParam read_rdd(const Line& line, const proto::LayerParameter& from, Where where) {
  if (from.bottom_size() > 0) refuse(fmt::format("reads {} bottoms, and its type reads none", from.bottom_size()));
  if (from.input_param().shape_size() != 1)
    refuse(fmt::format("has {} shapes, and an RDDLayer has one", from.input_param().shape_size()));
  return finished(RDDLayer{from.name(), read_shape(from.input_param().shape(0))}, OptionReader(line, from), where);
}

proto::LayerParameter write_rdd(const Line& line, const LayerParam& layer) {
  proto::LayerParameter to = begin(line, layer);
  write_shape(layer.as<RDDLayer>()->shape, *to.mutable_input_param()->add_shape());
  OptionWriter(line, to).finish(layer);
  return to;
}

struct Entry {
  Line line;
  std::string_view type;  // ours
  LayerParam (*read)(const Line&, const proto::LayerParameter&, Where);
  proto::LayerParameter (*write)(const Line&, const LayerParam&);
};

const std::vector<Entry>& catalog() {
  static const std::vector<Entry> entries = [] {
    std::vector<Entry> list{{rdd_line, RDDLayer::type, read_rdd, write_rdd}};
    for_each_layer([&]<class L>(Line line, L*) { list.push_back({std::move(line), L::type, read<L>, write<L>}); });
    return list;
  }();
  return entries;
}

const Entry* entry_of(std::string_view type) {
  const auto found = std::ranges::find(catalog(), type, &Entry::type);
  return found == catalog().end() ? nullptr : &*found;
}

}  // namespace

const std::vector<std::string>& known_types() {
  static const std::vector<std::string> types = [] {
    std::vector<std::string> names;
    for (const Entry& entry : catalog()) names.emplace_back(entry.line.type);
    std::ranges::sort(names);
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
  }();
  return types;
}

std::string_view caffes_type(std::string_view type) {
  const Entry* entry = entry_of(type);
  return entry ? entry->line.type : std::string_view();
}

LayerParam read_layer(const proto::LayerParameter& from, Where where) {
  const Entry* found = nullptr;
  for (const Entry& entry : catalog()) {
    if (entry.line.type != from.type() || (entry.line.takes ? !entry.line.takes(from) : found != nullptr)) continue;
    found = &entry;
  }
  if (!found)
    refuse(
        from.type().empty()
            ? "has no type"
            : fmt::format("there is no layer of type \"{}\"{}", from.type(), did_you_mean(from.type(), known_types())));
  if (found->line.lacks)
    if (const std::string_view why = found->line.lacks(from); !why.empty()) refuse(std::string(why));
  proto::LayerParameter layer = from;
  modernise(layer);
  return found->read(found->line, layer, where);
}

proto::LayerParameter write_layer(const LayerParam& layer) {
  const Entry* entry = entry_of(layer.type());
  if (!entry) refuse("Caffe's files have no name for its type");
  return entry->write(entry->line, layer);
}

}  // namespace sparknet::caffe
