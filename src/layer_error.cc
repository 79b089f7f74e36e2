#include "src/layer_error.h"

#include <fmt/format.h>

namespace sparknet {

std::string place(const Where& where) {
  const std::string_view file = where.file;
  if (file.empty()) return {};
  return fmt::format("{}:{}", file.substr(file.find_last_of('/') + 1), where.line);
}

NetError layer_error(
    const std::string& net, const LayerParam& layer, std::string_view why, std::span<const InputNote> inputs,
    std::string_view last_line) {
  std::string text = fmt::format("net \"{}\", layer \"{}\" ({}): {}", net, layer.name(), layer.type(), why);
  if (const std::string at = place(layer.where()); !at.empty()) text += fmt::format("\n  at {}", at);
  for (std::size_t i = 0; i < inputs.size(); ++i)
    text += fmt::format(
        "\n  input {}: {:<12} {:<18} {}",
        i,
        inputs[i].name,
        to_string(inputs[i].shape),
        place(inputs[i].where));
  if (!last_line.empty()) text += fmt::format("\n  {}", last_line);
  const auto names = layer.inputs();
  return NetError(text, net, layer.name(), layer.where(), {names.begin(), names.end()});
}

}  // namespace sparknet
