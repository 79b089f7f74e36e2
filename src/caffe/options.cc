#include "src/caffe/options.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>

#include "src/suggest.h"

namespace sparknet::caffe {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

/// Fields that say how something is computed, or what is printed meanwhile.
constexpr std::array immaterial = {"engine", "force_nd_im2col", "stable_prod_grad", "debug_info"};

constexpr std::array<std::pair<const char*, Filler::Type>, 7> filler_types = {{
    {"constant", Filler::Type::Constant},
    {"uniform", Filler::Type::Uniform},
    {"gaussian", Filler::Type::Gaussian},
    {"positive_unitball", Filler::Type::PositiveUnitball},
    {"xavier", Filler::Type::Xavier},
    {"msra", Filler::Type::Msra},
    {"bilinear", Filler::Type::Bilinear},
}};

[[noreturn]] void refuse(const std::string& why) {
  throw BadInput(why);
}

/// "convolution_param" of a field in that message of a layer is its place there; messages of their own go by type.
std::string name_of(const Line& line, const FieldDescriptor& field) {
  for (const std::string_view message : line.messages)
    if (const auto* holder = proto::LayerParameter::descriptor()->FindFieldByName(std::string(message));
        holder && holder->message_type() == field.containing_type())
      return fmt::format("{}.{}", message, field.name());
  return field.name();
}

std::string_view caffes_name(const Line& line, std::string_view option) {
  for (const Line::Rename& rename : line.renames)
    if (rename.ours == option) return rename.caffes;
  return option;
}

/// "kernel" of "kernel_size", of which there are kernel_h and kernel_w.
std::string stem_of(std::string_view name) {
  if (name == "kernel_size") name = "kernel";
  return std::string(name);
}

double number(const proto::ParamSpec& spec, bool lr) {
  return from_float(lr ? spec.lr_mult() : spec.decay_mult());
}

std::string params_of(const Line& line, const proto::LayerParameter& layer, std::string_view usual) {
  return line.params ? line.params(layer) : std::string(usual);
}

bool is_default(const Message& message, const FieldDescriptor& field) {
  if (field.is_repeated() || field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) return false;
  const Reflection& get = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL: return get.GetBool(message, &field) == field.default_value_bool();
    case FieldDescriptor::CPPTYPE_INT32: return get.GetInt32(message, &field) == field.default_value_int32();
    case FieldDescriptor::CPPTYPE_UINT32: return get.GetUInt32(message, &field) == field.default_value_uint32();
    case FieldDescriptor::CPPTYPE_FLOAT: {
      const float value = get.GetFloat(message, &field), usual = field.default_value_float();
      return !(value < usual) && !(value > usual);
    }
    case FieldDescriptor::CPPTYPE_ENUM: return get.GetEnum(message, &field) == field.default_value_enum();
    case FieldDescriptor::CPPTYPE_STRING: return get.GetString(message, &field) == field.default_value_string();
    default: return false;
  }
}

NetStateRule read_rule(const proto::NetStateRule& from) {
  NetStateRule rule;
  if (from.has_phase()) rule.phase = from.phase() == proto::TRAIN ? Phase::Train : Phase::Test;
  if (from.has_min_level()) rule.min_level = from.min_level();
  if (from.has_max_level()) rule.max_level = from.max_level();
  rule.stage.assign(from.stage().begin(), from.stage().end());
  rule.not_stage.assign(from.not_stage().begin(), from.not_stage().end());
  return rule;
}

void write_rule(const NetStateRule& rule, proto::NetStateRule& to) {
  if (rule.phase) to.set_phase(*rule.phase == Phase::Train ? proto::TRAIN : proto::TEST);
  if (rule.min_level) to.set_min_level(*rule.min_level);
  if (rule.max_level) to.set_max_level(*rule.max_level);
  for (const std::string& stage : rule.stage) to.add_stage(stage);
  for (const std::string& stage : rule.not_stage) to.add_not_stage(stage);
}

}  // namespace

double from_float(float value) {
  if (!std::isfinite(value)) return static_cast<double>(value);
  return std::strtod(fmt::format("{}", value).c_str(), nullptr);
}

float to_float(double value, std::string_view what) {
  const auto narrow = static_cast<float>(value);
  if (std::isfinite(value) && !std::isfinite(narrow))
    refuse(fmt::format("{} is {}, which is beyond the float that Caffe's files have for it", what, value));
  return narrow;
}

bool same_name(std::string_view a, std::string_view b) {
  const auto plain = [](std::string_view name) {
    std::string text;
    for (const char c : name)
      if (c != '_') text += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return text;
  };
  return plain(a) == plain(b);
}

Filler read_filler(const proto::FillerParameter& from) {
  Filler filler;
  const auto type =
      std::ranges::find_if(filler_types, [&](const auto& candidate) { return candidate.first == from.type(); });
  if (type == filler_types.end()) {
    std::vector<std::string> names;
    for (const auto& candidate : filler_types) names.emplace_back(candidate.first);
    refuse(fmt::format("there is no filler \"{}\"{}", from.type(), did_you_mean(from.type(), names)));
  }
  filler.type = type->second;
  filler.value = from_float(from.value());
  filler.min = from_float(from.min());
  filler.max = from_float(from.max());
  filler.mean = from_float(from.mean());
  filler.std = from_float(from.std());
  filler.sparse = from.sparse();
  filler.variance_norm = static_cast<VarianceNorm>(from.variance_norm());
  return filler;
}

void write_filler(const Filler& filler, proto::FillerParameter& to) {
  const proto::FillerParameter usual;
  for (const auto& [name, type] : filler_types)
    if (type == filler.type) to.set_type(name);
  const auto put = [&](double value, float usual_value, void (proto::FillerParameter::*set)(float), const char* what) {
    if (value != from_float(usual_value)) (to.*set)(to_float(value, what));
  };
  put(filler.value, usual.value(), &proto::FillerParameter::set_value, "a filler's value");
  put(filler.min, usual.min(), &proto::FillerParameter::set_min, "a filler's min");
  put(filler.max, usual.max(), &proto::FillerParameter::set_max, "a filler's max");
  put(filler.mean, usual.mean(), &proto::FillerParameter::set_mean, "a filler's mean");
  put(filler.std, usual.std(), &proto::FillerParameter::set_std, "a filler's std");
  if (filler.sparse < std::numeric_limits<std::int32_t>::min() ||
      filler.sparse > std::numeric_limits<std::int32_t>::max())
    refuse(fmt::format("a filler's sparse is {}, which is no int32", filler.sparse));
  if (filler.sparse != usual.sparse()) to.set_sparse(static_cast<std::int32_t>(filler.sparse));
  if (filler.variance_norm != VarianceNorm::FanIn)
    to.set_variance_norm(static_cast<proto::FillerParameter::VarianceNorm>(filler.variance_norm));
}

Shape read_shape(const proto::BlobShape& from) {
  if (from.dim_size() > static_cast<int>(Shape::max_rank))
    refuse(fmt::format("a shape has {} dimensions, and at most {} are possible", from.dim_size(), Shape::max_rank));
  Shape shape;
  for (const std::int64_t dim : from.dim()) shape.push_back(dim);
  return shape;
}

void write_shape(const Shape& shape, proto::BlobShape& to) {
  for (const Dim dim : shape) to.add_dim(dim);
}

// ---- Reading -------------------------------------------------------------------------------------------------------

std::optional<OptionReader::Place> OptionReader::find_field(std::string_view name) {
  for (const std::string_view message : line_.messages) {
    const FieldDescriptor* holder = layer_.GetDescriptor()->FindFieldByName(std::string(message));
    const FieldDescriptor* field = holder->message_type()->FindFieldByName(std::string(name));
    if (!field) continue;
    taken_.insert(field);
    return Place{&layer_.GetReflection()->GetMessage(layer_, holder), field};
  }
  return {};
}

std::optional<OptionReader::Place> OptionReader::find(std::string_view option) {
  return find_field(caffes_name(line_, option));
}

bool OptionReader::given(const Place& place) {
  return place.field->is_repeated() ? count(place) > 0
                                    : place.message->GetReflection()->HasField(*place.message, place.field);
}

int OptionReader::count(const Place& place) {
  return place.message->GetReflection()->FieldSize(*place.message, place.field);
}

OptionReader::Value OptionReader::value(const Place& place, int index) {
  const auto& [message, field] = place;
  const Reflection& get = *message->GetReflection();
  const bool many = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return many ? get.GetRepeatedBool(*message, field, index) : get.GetBool(*message, field);
    case FieldDescriptor::CPPTYPE_INT32:
      return Dim{many ? get.GetRepeatedInt32(*message, field, index) : get.GetInt32(*message, field)};
    case FieldDescriptor::CPPTYPE_UINT32:
      return Dim{many ? get.GetRepeatedUInt32(*message, field, index) : get.GetUInt32(*message, field)};
    case FieldDescriptor::CPPTYPE_INT64:
      return Dim{many ? get.GetRepeatedInt64(*message, field, index) : get.GetInt64(*message, field)};
    case FieldDescriptor::CPPTYPE_FLOAT:
      return from_float(many ? get.GetRepeatedFloat(*message, field, index) : get.GetFloat(*message, field));
    case FieldDescriptor::CPPTYPE_STRING:
      return many ? get.GetRepeatedString(*message, field, index) : get.GetString(*message, field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return (many ? get.GetRepeatedEnum(*message, field, index) : get.GetEnum(*message, field))->name();
    default: refuse(fmt::format("{} is of a type that no option has", field->name()));
  }
}

const proto::FillerParameter& OptionReader::filler(const Place& place, int index) {
  const Reflection& get = *place.message->GetReflection();
  return static_cast<const proto::FillerParameter&>(
      index < 0 ? get.GetMessage(*place.message, place.field)
                : get.GetRepeatedMessage(*place.message, place.field, index));
}

const proto::BlobShape& OptionReader::shape(const Place& place, int index) {
  const Reflection& get = *place.message->GetReflection();
  return static_cast<const proto::BlobShape&>(
      index < 0 ? get.GetMessage(*place.message, place.field)
                : get.GetRepeatedMessage(*place.message, place.field, index));
}

std::vector<double> OptionReader::row(const Place& place, int index) {
  std::vector<double> values;
  const Message& row = place.message->GetReflection()->GetRepeatedMessage(*place.message, place.field, index);
  for (const float value : static_cast<const proto::MatrixRow&>(row).value()) values.push_back(from_float(value));
  return values;
}

Dim OptionReader::enumerators(const Place& place) {
  return place.field->enum_type()->value_count();
}

void OptionReader::refuse_enumerator(const Place& place, const std::string& name) {
  refuse(fmt::format("{} is {}, which this layer cannot do", place.field->name(), name));
}

bool OptionReader::special(std::string_view option, double& value) {
  if (option == "loss_weight") {
    has_loss_weight_ = true;
    const auto& weights = layer_.loss_weight();
    const bool first_only = std::all_of(weights.begin() + std::min(1, weights.size()), weights.end(), [](float weight) {
      return !(weight < 0) && !(weight > 0);
    });
    if (weights.size() > 0 && first_only)
      value = from_float(weights[0]);
    else if (weights.size() > 0)
      has_loss_weight_ = false;
    return true;
  }
  if (option == "lr_mult" || option == "decay_mult") {
    Multipliers both;
    multipliers(option, "w", both);
    value = both.weights;
    return true;
  }
  return false;
}

void OptionReader::multipliers(std::string_view option, std::string_view params, Multipliers& value) {
  const bool lr = option == "lr_mult";
  const std::string letters = params_of(line_, layer_, params);
  const auto first = [&](char letter) {
    const std::size_t i = letters.find(letter);
    return i < static_cast<std::size_t>(layer_.param_size()) ? number(layer_.param(static_cast<int>(i)), lr) : 1.;
  };
  value = {first('w'), first('b')};
  for (const char letter : letters) (lr ? lr_ : decay_).push_back(letter == 'w' ? value.weights : value.bias);
}

bool OptionReader::by_axis(std::string_view option, std::vector<Dim>& value) {
  const std::string_view name = caffes_name(line_, option);
  const std::string stem = stem_of(name);
  const auto base = find_field(name), h = find_field(stem + "_h"), w = find_field(stem + "_w");
  if (!h || !w || !(given(*h) || given(*w))) return false;
  if (base && given(*base)) refuse(fmt::format("{} is given, and {}_h or {}_w too", name, stem, stem));
  if (stem != "pad" && !(given(*h) && given(*w))) refuse(fmt::format("of {}_h and {}_w only one is given", stem, stem));
  value = {one<Dim>(*h, -1), one<Dim>(*w, -1)};
  return true;
}

void OptionReader::size(std::string_view option, Size2& value) {
  const std::string_view name = caffes_name(line_, option);
  const auto base = find_field(name);
  if (std::vector<Dim> both; by_axis(option, both)) {
    value = {both[0], both[1]};
  } else if (base && given(*base)) {
    if (!base->field->is_repeated())
      value = one<Dim>(*base, -1);
    else if (const int values = count(*base); values <= 2)
      value = {one<Dim>(*base, 0), one<Dim>(*base, values - 1)};
    else
      refuse(fmt::format("{} has {} values, and images have two axes", name, values));
  }
}

void OptionReader::finish() const {
  for (const std::string_view name : line_.messages) {
    const FieldDescriptor* holder = layer_.GetDescriptor()->FindFieldByName(std::string(name));
    const Message& message = layer_.GetReflection()->GetMessage(layer_, holder);
    std::vector<const FieldDescriptor*> fields;
    message.GetReflection()->ListFields(message, &fields);
    for (const FieldDescriptor* field : fields)
      if (!taken_.contains(field) && std::ranges::find(immaterial, field->name()) == immaterial.end() &&
          !is_default(message, *field))
        refuse(fmt::format("{} is given, and this layer cannot do anything but the default", name_of(line_, *field)));
  }
}

std::optional<Include> OptionReader::include() const {
  if (layer_.include_size() != 1) return {};
  const proto::NetStateRule& rule = layer_.include(0);
  if (!rule.has_phase() || rule.has_min_level() || rule.has_max_level() || rule.stage_size() || rule.not_stage_size())
    return {};
  return rule.phase() == proto::TRAIN ? Include::Train : Include::Test;
}

LayerExtras OptionReader::extras(const std::vector<std::string>& tops, bool has_include) const {
  LayerExtras extras;
  if (layer_.top_size() > 0) extras.top.assign(layer_.top().begin(), layer_.top().end());
  if (extras.top == tops) extras.top.clear();

  for (std::size_t i = 0; i < std::max({static_cast<std::size_t>(layer_.param_size()), lr_.size(), decay_.size()});
       ++i) {
    const proto::ParamSpec& from = i < static_cast<std::size_t>(layer_.param_size())
                                       ? layer_.param(static_cast<int>(i))
                                       : proto::ParamSpec::default_instance();
    ParamSpec& spec = extras.param.emplace_back();
    spec.name = from.name();
    if (from.share_mode() == proto::ParamSpec::PERMISSIVE) spec.share_mode = ShareMode::Permissive;
    const auto rest = [&](const std::vector<double>& said, bool has, bool lr, std::optional<double>& value) {
      const double given = number(from, lr);
      if (i < said.size() ? given != said[i] : has) value = given;
    };
    rest(lr_, from.has_lr_mult(), true, spec.lr_mult);
    rest(decay_, from.has_decay_mult(), false, spec.decay_mult);
  }
  while (!extras.param.empty() && extras.param.back() == ParamSpec()) extras.param.pop_back();

  if (!has_loss_weight_)
    for (const float weight : layer_.loss_weight()) extras.loss_weight.push_back(from_float(weight));
  extras.propagate_down.assign(layer_.propagate_down().begin(), layer_.propagate_down().end());
  if (!has_include || !include())
    for (const auto& rule : layer_.include()) extras.include.push_back(read_rule(rule));
  for (const auto& rule : layer_.exclude()) extras.exclude.push_back(read_rule(rule));
  return extras;
}

// ---- Writing -------------------------------------------------------------------------------------------------------

OptionWriter::Place OptionWriter::find_field(std::string_view name, std::string_view option) {
  for (const std::string_view message : line_.messages) {
    const FieldDescriptor* holder = layer_.GetDescriptor()->FindFieldByName(std::string(message));
    const FieldDescriptor* field = holder->message_type()->FindFieldByName(std::string(name));
    if (field) return {layer_.GetReflection()->MutableMessage(&layer_, holder), field};
  }
  refuse_option(option);
}

OptionWriter::Place OptionWriter::find(std::string_view option) {
  return find_field(caffes_name(line_, option), option);
}

void OptionWriter::put(const Place& place, std::string_view option, Dim value) {
  const auto& [message, field] = place;
  const Reflection& set = *message->GetReflection();
  const auto narrow = [&]<class T>(T) {
    if (!std::in_range<T>(value))
      refuse(fmt::format("option .{} is {}, which Caffe's {} cannot be", option, value, place.field->cpp_type_name()));
    return static_cast<T>(value);
  };
  const bool many = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32: {
      const auto number = narrow(std::int32_t{});
      many ? set.AddInt32(message, field, number) : set.SetInt32(message, field, number);
      return;
    }
    case FieldDescriptor::CPPTYPE_UINT32: {
      const auto number = narrow(std::uint32_t{});
      many ? set.AddUInt32(message, field, number) : set.SetUInt32(message, field, number);
      return;
    }
    case FieldDescriptor::CPPTYPE_INT64:
      many ? set.AddInt64(message, field, value) : set.SetInt64(message, field, value);
      return;
    default: refuse(fmt::format("option .{} is a whole number, and Caffe's {} is none", option, field->name()));
  }
}

void OptionWriter::put(const Place& place, std::string_view option, double value) {
  const auto& [message, field] = place;
  const Reflection& set = *message->GetReflection();
  const float narrow = to_float(value, fmt::format("option .{}", option));
  field->is_repeated() ? set.AddFloat(message, field, narrow) : set.SetFloat(message, field, narrow);
}

void OptionWriter::put(const Place& place, std::string_view option, const std::vector<double>& row) {
  auto& to = static_cast<proto::MatrixRow&>(message(place));
  for (const double value : row) to.add_value(to_float(value, fmt::format("option .{}", option)));
}

void OptionWriter::put(const Place& place, bool value) {
  const auto& [message, field] = place;
  const Reflection& set = *message->GetReflection();
  field->is_repeated() ? set.AddBool(message, field, value) : set.SetBool(message, field, value);
}

void OptionWriter::put(const Place& place, const std::string& value) {
  const auto& [message, field] = place;
  const Reflection& set = *message->GetReflection();
  field->is_repeated() ? set.AddString(message, field, value) : set.SetString(message, field, value);
}

void OptionWriter::refuse_option(std::string_view option) {
  refuse(fmt::format("option .{} is given, and Caffe's files have no place for it", option));
}

void OptionWriter::refuse_empty(std::string_view option) {
  refuse(fmt::format("option .{} is empty, which Caffe's files cannot say", option));
}

void OptionWriter::put_enumerator(const Place& place, std::string_view option, const std::string& name) {
  const auto& [message, field] = place;
  for (int i = 0; i < field->enum_type()->value_count(); ++i) {
    const auto* value = field->enum_type()->value(i);
    if (!same_name(value->name(), name)) continue;
    const Reflection& set = *message->GetReflection();
    field->is_repeated() ? set.AddEnum(message, field, value) : set.SetEnum(message, field, value);
    return;
  }
  refuse(fmt::format("option .{} is {}, which Caffe's {} cannot be", option, name, field->name()));
}

Message& OptionWriter::message(const Place& place) {
  const Reflection& set = *place.message->GetReflection();
  return place.field->is_repeated() ? *set.AddMessage(place.message, place.field)
                                    : *set.MutableMessage(place.message, place.field);
}

bool OptionWriter::special(std::string_view option, double value) {
  if (option == "loss_weight") {
    loss_weight_ = value;
    return true;
  }
  if (option == "lr_mult" || option == "decay_mult") {
    (option == "lr_mult" ? lr_ : decay_) = Multiplied{{value, 1}, "w"};
    return true;
  }
  return false;
}

std::vector<double> OptionWriter::multipliers_of(const std::optional<Multiplied>& option) const {
  std::vector<double> multipliers;
  if (option)
    for (const char letter : params_of(line_, layer_, option->usual))
      multipliers.push_back(letter == 'w' ? option->by.weights : option->by.bias);
  return multipliers;
}

void OptionWriter::size(std::string_view option, const Size2& value) {
  const std::string_view name = caffes_name(line_, option);
  const Place base = find_field(name, option);
  const std::string stem = stem_of(name);
  const bool by_axis = base.field->containing_type()->FindFieldByName(stem + "_h") != nullptr;
  if (value.h == value.w) {
    put(base, option, value.h);
  } else if (by_axis) {
    put(find_field(stem + "_h", option), option, value.h);
    put(find_field(stem + "_w", option), option, value.w);
  } else {
    put(base, option, value.h);
    put(base, option, value.w);
  }
}

void OptionWriter::finish(const LayerParam& layer) {
  const LayerExtras& extras = layer.extras();
  const std::vector<double> lr = multipliers_of(lr_), decay = multipliers_of(decay_);
  std::vector<proto::ParamSpec> params(std::max({extras.param.size(), lr.size(), decay.size()}));
  std::size_t used = 0;
  for (std::size_t i = 0; i < params.size(); ++i) {
    const ParamSpec spec = i < extras.param.size() ? extras.param[i] : ParamSpec();
    if (!spec.name.empty()) params[i].set_name(spec.name);
    if (spec.share_mode == ShareMode::Permissive) params[i].set_share_mode(proto::ParamSpec::PERMISSIVE);
    const auto put = [&](const std::vector<double>& said, const std::optional<double>& instead, auto set, auto what) {
      if (instead && i >= said.size())
        (params[i].*set)(to_float(*instead, what));
      else if (const double value = instead ? *instead : i < said.size() ? said[i] : 1; value != 1)
        (params[i].*set)(to_float(value, what));
    };
    put(lr, spec.lr_mult, &proto::ParamSpec::set_lr_mult, "lr_mult");
    put(decay, spec.decay_mult, &proto::ParamSpec::set_decay_mult, "decay_mult");
    if (params[i].ByteSizeLong() > 0) used = i + 1;
  }
  for (std::size_t i = 0; i < used; ++i) *layer_.add_param() = params[i];

  std::vector<double> weights = extras.loss_weight;
  if (weights.empty() && loss_weight_ && *loss_weight_ != 1) {
    weights.resize(std::max<std::size_t>(1, layer.tops().size()));
    weights[0] = *loss_weight_;
  }
  for (const double weight : weights) layer_.add_loss_weight(to_float(weight, "loss_weight"));
  for (const bool down : extras.propagate_down) layer_.add_propagate_down(down);
  if (const auto include = layer.include())
    layer_.add_include()->set_phase(*include == Include::Train ? proto::TRAIN : proto::TEST);
  for (const NetStateRule& rule : extras.include) write_rule(rule, *layer_.add_include());
  for (const NetStateRule& rule : extras.exclude) write_rule(rule, *layer_.add_exclude());
}

}  // namespace sparknet::caffe
