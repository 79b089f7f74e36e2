#include "sparknet/net_param.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

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

bool LayerParam::in_phase(Phase phase) const {
  const auto only = include();
  return !only || (*only == Include::Train) == (phase == Phase::Train);
}

std::string to_string(const NetParam& net) {
  std::string text = fmt::format("NetParam(\"{}\"", net.name);
  for (const LayerParam& layer : net.layers) {
    text += fmt::format(",\n    {}{{\"{}\"", layer.type(), layer.name());
    if (const auto inputs = layer.inputs(); !inputs.empty())
      text += fmt::format(", {{\"{}\"}}", fmt::join(inputs, "\", \""));
    const std::string options = layer.options_text();
    if (!options.empty()) text += ", " + options;
    if (const auto include = layer.include())
      text += fmt::format(
          "{}, Include::{}",
          options.empty() && !layer.inputs().empty() ? ", {}" : "",
          *include == Include::Train ? "Train" : "Test");
    text += "}";
  }
  return text + ")";
}

std::vector<InferredLayer> infer_shapes(const NetParam& net, Phase phase) {
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
        if (!other.in_phase(phase)) {
          const char* only = phase == Phase::Train ? "test" : "training";
          return layer_error(
              net.name,
              layer,
              fmt::format("reads \"{}\", which is there in the {} phase only", wanted, only));
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
    if (!layer.in_phase(phase)) continue;
    if (layer.name().empty()) throw layer_error(net.name, layer, "a layer needs a name");
    InferredLayer inferred{layer, layer.tops(), {}, {}};
    for (const std::string& top : inferred.tops)
      if (const auto taken = blobs.find(top); taken != blobs.end())
        throw layer_error(
            net.name,
            layer,
            fmt::format(
                "the name{} is taken by the {} at line {}",
                top == layer.name() ? "" : fmt::format(" \"{}\" of its top", top),
                taken->second.layer->type(),
                taken->second.layer->where().line));

    const auto inputs = layer.inputs();
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
    } catch (const BadInput& why) {
      throw layer_error(net.name, layer, why.what(), notes);
    }
    if (inferred.top_shapes.size() != inferred.tops.size())
      throw layer_error(
          net.name,
          layer,
          fmt::format("names {} tops and infers {} shapes", inferred.tops.size(), inferred.top_shapes.size()));
    for (std::size_t t = 0; t < inferred.tops.size(); ++t) {
      blobs.emplace(inferred.tops[t], Blob{inferred.top_shapes[t], &layer});
      names.push_back(inferred.tops[t]);
    }
    layers.push_back(std::move(inferred));
  }
  return layers;
}

std::string summary(const NetParam& net, Phase phase) {
  std::string text = net.name + "\n";
  for (const InferredLayer& layer : infer_shapes(net, phase)) {
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
