#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <set>

#include "src/c/handles.h"
#include "src/caffe/layers.h"
#include "src/suggest.h"

namespace sparknet::c {
namespace {

/// The same text for as long as the program runs, as Where wants it.
const char* kept(const std::string& file) {
  static std::mutex mutex;
  static std::set<std::string> files;
  const std::lock_guard lock(mutex);
  return files.insert(file).first->c_str();
}

Where where_from(const Json& json) {
  Fields fields(json, "where");
  std::string file;
  int line = 0;
  fields.take("file", file);
  fields.take("line", line);
  fields.finish();
  return {kept(file), line};
}

const std::vector<std::pair<std::string, Phase>> phases = {{"train", Phase::Train}, {"test", Phase::Test}};

}  // namespace

void read(const Json& value, const std::string& name, NetStateRule& to) {
  Fields fields(value, name);
  if (const Json* phase = fields.find("phase")) {
    Phase read_phase{};
    read_choice(*phase, name, read_phase, phases);
    to.phase = read_phase;
  }
  fields.take("min_level", to.min_level);
  fields.take("max_level", to.max_level);
  fields.take("stage", to.stage);
  fields.take("not_stage", to.not_stage);
  fields.finish();
}

void read(const Json& value, const std::string& name, ParamSpec& to) {
  Fields fields(value, name);
  fields.take("name", to.name);
  fields.take("share_mode", to.share_mode, {{"STRICT", ShareMode::Strict}, {"PERMISSIVE", ShareMode::Permissive}});
  fields.take("lr_mult", to.lr_mult);
  fields.take("decay_mult", to.decay_mult);
  fields.finish();
}

namespace {

template <class T>
void take_list(Fields& fields, const std::string& name, std::vector<T>& to) {
  const Json* list = fields.find(name);
  if (!list) return;
  if (!list->is_array()) refuse(*list, fields.name_of(name), "a list");
  for (const Json& element : *list) read(element, fields.name_of(name), to.emplace_back());
}

LayerExtras extras_from(const Json& json, const std::string& what) {
  Fields fields(json, what);
  LayerExtras extras;
  fields.take("top", extras.top);
  take_list(fields, "param", extras.param);
  fields.take("loss_weight", extras.loss_weight);
  if (const Json* list = fields.find("propagate_down")) {
    if (!list->is_array()) refuse(*list, fields.name_of("propagate_down"), "a list");
    for (const Json& element : *list) {
      bool down = true;
      read(element, fields.name_of("propagate_down"), down);
      extras.propagate_down.push_back(down);
    }
  }
  take_list(fields, "include", extras.include);
  take_list(fields, "exclude", extras.exclude);
  fields.finish();
  return extras;
}

template <class L>
void read_options(const Json& json, const std::string& what, L& layer) {
  if constexpr (requires { &L::options; }) {
    Fields fields(json, what);
    decltype(L::options)::fields([&](const char* name, auto member) {
      const Json* value = fields.find(name);
      if (!value) return;
      using Option = std::remove_cvref_t<decltype(layer.options.*member)>;
      if constexpr (Readable<Option>)
        read(*value, fields.name_of(name), layer.options.*member);
      else
        throw DataError(fields.name_of(name), -1, "this option can be said in C++ only");
    });
    fields.finish();
  } else if (!json.empty()) {
    throw DataError(what, -1, "its type has no options");
  }
}

/// What is said of any layer is read from `fields`, in which its own type's names were asked for.
template <class L>
LayerParam finished(Fields& fields, L layer, const std::string& what) {
  if (const Json* include = fields.find("include")) {
    if constexpr (requires { layer.include; }) {
      Phase phase{};
      read_choice(*include, fields.name_of("include"), phase, phases);
      layer.include = phase == Phase::Train ? Include::Train : Include::Test;
    } else {
      throw DataError(what, -1, "its type has no \"include\"; say it in \"with\", as a list of rules");
    }
  }
  if (const Json* where = fields.find("where")) layer.where = where_from(*where);
  const Json* extras = fields.find("with");
  fields.finish();
  LayerParam param(std::move(layer));
  return extras ? with(std::move(param), extras_from(*extras, what + ": with")) : param;
}

/// Calls visit(LayerType*) for each type.
template <class V>
void for_each_type(V&& visit) {
  visit(static_cast<RDDLayer*>(nullptr));
  caffe::for_each_layer([&]<class L>(const caffe::Line&, L* type) { visit(type); });
}

}  // namespace

LayerParam layer_from(const Json& json) {
  Fields fields(json, "a layer");
  std::string type, name;
  std::vector<std::string> bottoms;
  fields.require("type", type);
  fields.require("name", name);
  const std::string what = fmt::format("layer \"{}\" ({})", name, type);
  if (const Json* bottom = fields.find("bottom")) read(*bottom, what + ": bottom", bottoms);

  std::optional<LayerParam> made;
  std::vector<std::string> types;
  for_each_type([&]<class L>(L*) {
    types.emplace_back(L::type);
    if (made || L::type != type) return;
    try {
      if constexpr (std::same_as<L, RDDLayer>) {
        if (!bottoms.empty()) throw BadInput("reads bottoms, and its type reads none");
        Shape shape;
        fields.require("shape", shape);
        made = finished(fields, RDDLayer{name, shape}, what);
      } else {
        L layer = caffe::blank<L>(name, bottoms);
        if (const Json* options = fields.find("options")) read_options(*options, what, layer);
        made = finished(fields, std::move(layer), what);
      }
    } catch (const BadInput& why) {
      throw NetError(fmt::format("{}: {}", what, why.what()), {}, name);
    }
  });
  if (!made)
    throw NetError(
        fmt::format("layer \"{}\": there is no layer of type \"{}\"{}", name, type, did_you_mean(type, types)),
        {},
        name);
  return *std::move(made);
}

Json layer_types() {
  Json types = Json::array();
  for_each_type([&]<class L>(L*) {
    Json type = {{"type", std::string(L::type)}, {"inputs", -1}, {"options", Json::array()}};
    if constexpr (requires { &L::bottom; }) type["inputs"] = LayerParam(caffe::blank<L>("", {})).arity();
    if constexpr (requires { &L::options; })
      decltype(L::options)::fields([&](const char* name, auto) { type["options"].push_back(name); });
    types.push_back(std::move(type));
  });
  return types;
}

bool is_input(const LayerParam& layer, Phase phase) {
  return layer.inputs().empty() && !layer.make() && !layer.feed(phase);
}

NetOptions net_options(std::string_view text, bool all, bool phase) {
  Fields fields(text, "options of a net");
  NetOptions options;
  if (phase) fields.take("phase", options.phase, phases);
  fields.take("level", options.level);
  fields.take("stages", options.stages);
  if (all) {
    fields.take("dtype", options.dtype, {{"f32", DType::F32}, {"f64", DType::F64}});
    fields.take("tf32", options.tf32);
    fields.take("bf16", options.bf16);
    fields.take("nhwc", options.nhwc);
    fields.take("winograd", options.winograd);
    fields.take("recompute", options.recompute);
    fields.take("freeze", options.freeze);
    fields.take("threads", options.threads);
    fields.take("seed", options.seed);
    fields.take("keep", options.keep);
    fields.take("part", options.part);
    fields.take("parts", options.parts);
    if (const Json* json = fields.find("device")) {
      std::string device;
      read(*json, fields.name_of("device"), device);
      if (device.starts_with("cuda") && (device.size() == 4 || device[4] == ':')) {
        int index = 0;
        if (device.size() > 4)
          read(
              parse_json(std::string_view(device).substr(5), fields.name_of("device")),
              fields.name_of("device"),
              index);
        options.device = Device::cuda(index);
      } else if (device != "cpu") {
        refuse(*json, fields.name_of("device"), "\"cpu\", \"cuda\" or \"cuda:0\"");
      }
    }
  }
  fields.finish();
  return options;
}

FeedOptions feed_options(std::string_view text) {
  Fields fields(text, "options of the data");
  FeedOptions options;
  fields.take("shuffle", options.shuffle);
  fields.take("seed", options.seed);
  fields.take("random", options.random);
  fields.take("prefetch", options.prefetch);
  if (const Json* transforms = fields.find("transforms")) {
    if (!transforms->is_object()) refuse(*transforms, fields.name_of("transforms"), "an object of columns");
    for (const auto& [column, json] : transforms->items()) {
      Fields transform(json, fmt::format("transforms: \"{}\"", column));
      Transform& to = options.transforms[column];
      transform.take("scale", to.scale);
      transform.take("mean_values", to.mean_values);
      transform.take("crop", to.crop);
      transform.take("mirror", to.mirror);
      transform.finish();
    }
  }
  fields.finish();
  return options;
}

}  // namespace sparknet::c
