#include "sparknet/net_param.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "src/layer_error.h"
#include "src/suggest.h"

namespace sparknet {

std::string to_text(bool value) {
  return value ? "true" : "false";
}
std::string to_text(Dim value) {
  return fmt::format("{}", value);
}
std::string to_text(double value) {
  return fmt::format("{}", value);
}
std::string to_text(const std::string& value) {
  return fmt::format("\"{}\"", value);
}
std::string to_text(const Size2& value) {
  return value.h == value.w ? fmt::format("{}", value.h) : fmt::format("{{{}, {}}}", value.h, value.w);
}
std::string to_text(const Multipliers& value) {
  return fmt::format("{{{}, {}}}", value.weights, value.bias);
}
std::string to_text(const std::vector<double>& value) {
  return fmt::format("{{{}}}", fmt::join(value, ", "));
}
std::string to_text(const Shape& value) {
  return fmt::format("{{{}}}", fmt::join(value, ", "));
}

bool NetStateRule::holds(const NetState& state) const {
  const auto has = [&](const std::string& name) { return std::ranges::count(state.stages, name) != 0; };
  return (!phase || *phase == state.phase) && (!min_level || state.level >= *min_level) &&
         (!max_level || state.level <= *max_level) && std::ranges::all_of(stage, has) &&
         std::ranges::none_of(not_stage, has);
}

const LayerExtras& LayerParam::extras() const {
  static const LayerExtras none;
  return extras_ ? *extras_ : none;
}

LayerParam with(LayerParam layer, LayerExtras extras) {
  layer.extras_ = std::make_shared<const LayerExtras>(std::move(extras));
  return layer;
}

bool LayerParam::in(const NetState& state) const {
  const auto holds = [&](const NetStateRule& rule) { return rule.holds(state); };
  if (const auto only = include(); only || !extras().include.empty())
    return (only && (*only == Include::Train) == (state.phase == Phase::Train)) ||
           std::ranges::any_of(extras().include, holds);
  return std::ranges::none_of(extras().exclude, holds);
}

namespace {

std::string quoted(const std::vector<std::string>& names) {
  return names.empty() ? "{}" : fmt::format("{{\"{}\"}}", fmt::join(names, "\", \""));
}

std::string to_text(const ParamSpec& spec) {
  std::string text = fmt::format("{{\"{}\"", spec.name);
  if (spec.share_mode == ShareMode::Permissive) text += ", ShareMode::Permissive";
  if (spec.lr_mult || spec.decay_mult) {
    if (spec.share_mode == ShareMode::Strict) text += ", ShareMode::Strict";
    text += ", " + sparknet::to_text(spec.lr_mult);
    if (spec.decay_mult) text += ", " + sparknet::to_text(spec.decay_mult);
  }
  return text + "}";
}

std::string to_text(const NetStateRule& rule) {
  std::string text;
  const auto add = [&](const char* name, const std::string& value) {
    text += fmt::format("{}.{} = {}", text.empty() ? "" : ", ", name, value);
  };
  if (rule.phase) add("phase", *rule.phase == Phase::Train ? "Phase::Train" : "Phase::Test");
  if (rule.min_level) add("min_level", fmt::format("{}", *rule.min_level));
  if (rule.max_level) add("max_level", fmt::format("{}", *rule.max_level));
  if (!rule.stage.empty()) add("stage", quoted(rule.stage));
  if (!rule.not_stage.empty()) add("not_stage", quoted(rule.not_stage));
  return "{" + text + "}";
}

/// As it is written in `with`; "" where there is nothing.
std::string extras_text(const LayerExtras& extras) {
  std::string text;
  const auto add = [&](const char* name, const std::string& value) {
    text += fmt::format("{}.{} = {}", text.empty() ? "" : ", ", name, value);
  };
  const auto list = [&](const char* name, const auto& values) {
    if (values.empty()) return;
    std::string items;
    for (const auto& value : values) items += (items.empty() ? "" : ", ") + to_text(value);
    add(name, "{" + items + "}");
  };
  if (!extras.top.empty()) add("top", quoted(extras.top));
  list("param", extras.param);
  if (!extras.loss_weight.empty()) add("loss_weight", sparknet::to_text(extras.loss_weight));
  if (!extras.propagate_down.empty())
    add("propagate_down", fmt::format("{{{}}}", fmt::join(extras.propagate_down, ", ")));
  list("include", extras.include);
  list("exclude", extras.exclude);
  return text.empty() ? text : "{" + text + "}";
}

}  // namespace

std::string to_string(const NetParam& net) {
  std::string text = fmt::format("NetParam(\"{}\"", net.name);
  for (const LayerParam& layer : net.layers) {
    const std::string extras = extras_text(layer.extras());
    text += fmt::format(",\n    {}{}{{\"{}\"", extras.empty() ? "" : "with(", layer.type(), layer.name());
    if (const auto inputs = layer.inputs(); !inputs.empty())
      text += fmt::format(", {{\"{}\"}}", fmt::join(inputs, "\", \""));
    const std::string options = layer.options_text();
    if (!options.empty()) text += ", " + options;
    if (const auto include = layer.include())
      text += fmt::format(
          "{}, Include::{}",
          options.empty() && !layer.inputs().empty() ? ", {}" : "",
          *include == Include::Train ? "Train" : "Test");
    text += extras.empty() ? "}" : "}, " + extras + ")";
  }
  return text + ")";
}

namespace {

/// Refuses what no layer can be told.
void check_extras(const NetParam& net, const LayerParam& layer) {
  const LayerExtras& extras = layer.extras();
  const auto refuse = [&](const std::string& why) { throw layer_error(net.name, layer, why); };
  if ((layer.include() || !extras.include.empty()) && !extras.exclude.empty())
    refuse("has rules to include and to exclude it; a layer may have one of them");
  if (!extras.loss_weight.empty() && extras.loss_weight.size() != layer.tops().size())
    refuse(fmt::format("has {} loss weights and {} tops", extras.loss_weight.size(), layer.tops().size()));
  for (const double weight : extras.loss_weight)
    if (!std::isfinite(weight)) refuse(fmt::format("has a loss weight of {}, which is not finite", weight));
  if (!extras.propagate_down.empty() && extras.propagate_down.size() != layer.inputs().size())
    refuse(fmt::format(
        "has {} values of propagate_down and {} inputs",
        extras.propagate_down.size(),
        layer.inputs().size()));
}

}  // namespace

std::vector<InferredLayer> infer_shapes(const NetParam& net, const NetState& state) {
  struct Blob {
    Shape shape;
    const LayerParam* layer;
  };
  std::map<std::string, Blob, std::less<>> blobs;
  std::vector<std::string> names;  // in the order of the net, for messages
  std::vector<InferredLayer> layers;

  const auto unknown_input = [&](std::size_t at, const std::string& wanted) {
    const LayerParam& layer = net.layers[at];
    for (const std::string& top : layer.tops())
      if (top == wanted) return layer_error(net.name, layer, "reads its own output");
    for (std::size_t i = 0; i < net.layers.size(); ++i) {
      const LayerParam& other = net.layers[i];
      for (const std::string& top : other.tops()) {
        if (top != wanted) continue;
        if (!other.in(state)) {
          const bool in_other =
              other.in(NetState(state.phase == Phase::Train ? Phase::Test : Phase::Train, state.level, state.stages));
          const char* only = state.phase == Phase::Train ? "test" : "training";
          return layer_error(
              net.name,
              layer,
              in_other ? fmt::format("reads \"{}\", which is there in the {} phase only", wanted, only)
                       : fmt::format("reads \"{}\", which is not there at this level and these stages", wanted));
        }
        return layer_error(
            net.name,
            layer,
            fmt::format("reads \"{}\", which is only defined at line {}; move it up", wanted, other.where().line));
      }
    }
    return layer_error(
        net.name,
        layer,
        fmt::format("reads \"{}\", which no layer is called{}", wanted, did_you_mean(wanted, names)),
        {},
        names.empty() ? "there is no layer before it" : fmt::format("layers so far: {}", fmt::join(names, ", ")));
  };

  for (std::size_t i = 0; i < net.layers.size(); ++i) {
    const LayerParam& layer = net.layers[i];
    if (!layer.in(state)) continue;
    if (layer.name().empty()) throw layer_error(net.name, layer, "a layer needs a name");
    check_extras(net, layer);
    InferredLayer inferred{layer, layer.tops(), {}, {}};
    const auto inputs = layer.inputs();
    for (std::size_t t = 0; t < inferred.tops.size(); ++t) {
      const std::string& top = inferred.tops[t];
      const bool again = std::count(inferred.tops.begin(), inferred.tops.begin() + static_cast<std::ptrdiff_t>(t), top);
      if (again) throw layer_error(net.name, layer, fmt::format("has two tops called \"{}\"", top));
      if (t < inputs.size() && inputs[t] == top) continue;
      if (const auto taken = blobs.find(top); taken != blobs.end())
        throw layer_error(
            net.name,
            layer,
            fmt::format(
                "the name{} is taken by the {} at line {}",
                top == layer.name() ? "" : fmt::format(" \"{}\" of its top", top),
                taken->second.layer->type(),
                taken->second.layer->where().line));
    }

    if (layer.arity() != 0 && inputs.size() != layer.arity())
      throw layer_error(net.name, layer, fmt::format("takes {} inputs, not {}", layer.arity(), inputs.size()));
    std::vector<InputNote> notes;
    for (const std::string& bottom : inputs) {
      const auto source = blobs.find(bottom);
      if (source == blobs.end()) throw unknown_input(i, bottom);
      inferred.bottom_shapes.push_back(source->second.shape);
      notes.push_back({bottom, source->second.shape, source->second.layer->where()});
    }
    try {
      inferred.top_shapes = layer.infer(inferred.bottom_shapes);
      // So that nothing after this, in any layer, computes with a product that overflows.
      for (const Shape& top : inferred.top_shapes) detail::checked_bytes(top, DType::F64);
    } catch (const BadInput& why) {
      throw layer_error(net.name, layer, why.what(), notes);
    } catch (const ShapeError& why) {
      throw layer_error(net.name, layer, why.what(), notes);
    }
    if (inferred.top_shapes.size() != inferred.tops.size())
      throw layer_error(
          net.name,
          layer,
          fmt::format("names {} tops and infers {} shapes", inferred.tops.size(), inferred.top_shapes.size()));
    for (std::size_t t = 0; t < inferred.tops.size(); ++t) {
      blobs.insert_or_assign(inferred.tops[t], Blob{inferred.top_shapes[t], &layer});
      names.push_back(inferred.tops[t]);
    }
    layers.push_back(std::move(inferred));
  }
  return layers;
}

std::string summary(const NetParam& net, const NetState& state) {
  std::string text = net.name + "\n";
  for (const InferredLayer& layer : infer_shapes(net, state)) {
    std::string shapes;
    for (const Shape& shape : layer.top_shapes)
      shapes += fmt::format("{}{}", shapes.empty() ? "" : " ", to_string(shape));
    text += fmt::format("  {:<8} {:<18} {:<18} <-", layer.param.name(), layer.param.type(), shapes);
    const auto inputs = layer.param.inputs();
    text += inputs.empty() ? "\n" : fmt::format(" {}\n", fmt::join(inputs, ", "));
  }
  return text;
}

}  // namespace sparknet
