#include <fmt/format.h>
#include <fmt/ranges.h>

#include "src/net/plan.h"

namespace sparknet {
namespace {

std::string human(std::size_t bytes) {
  if (bytes < 10 * 1024) return fmt::format("{} B", bytes);
  if (bytes < 10 * 1024 * 1024) return fmt::format("{:.0f} KiB", static_cast<double>(bytes) / 1024);
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1024 * 1024));
}

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string Net::Plan::summary() const {
  struct Row {
    std::string name, type, shape, params, inputs, note;
  };
  std::vector<Row> rows;
  Dim total = 0;
  for (const Node& node : nodes) {
    Row row{node.param.name(), std::string(node.param.type()), {}, {}, {}, {}};
    for (const std::size_t t : node.tops)
      row.shape += fmt::format("{}{}", row.shape.empty() ? "" : " ", to_string(blobs[t].shape));
    Dim count = 0;
    for (std::size_t p = 0; p < node.params.size() - node.taken_params; ++p)
      count += (*layout)[node.params[p]].shape.count();
    if (count) row.params = fmt::format("{}", count);
    total += count;
    row.inputs = fmt::format("{}", fmt::join(node.param.inputs(), ", "));
    if (node.fused()) row.note = fmt::format("fused into {}", nodes[node.fused_into].param.name());
    if (node.in_place) row.note = "in place";
    if (!node.tops.empty() && !node.fused() && blobs[blobs[node.tops[0]].root].again_piece != none)
      row.note += row.note.empty() ? "recomputed" : ", recomputed";
    rows.push_back(std::move(row));
  }
  std::size_t name = 0, type = 0, shape = 0, params_width = 6, inputs_width = 0;
  for (const Row& row : rows) {
    name = std::max(name, row.name.size());
    type = std::max(type, row.type.size());
    shape = std::max(shape, row.shape.size());
    params_width = std::max(params_width, row.params.size());
    inputs_width = std::max(inputs_width, row.inputs.size());
  }
  std::string text = fmt::format(
      "{} ({}, {}{}{}, {})\n",
      param.name,
      options.phase == Phase::Train ? "train"
      : options.freeze              ? "test, frozen"
                                    : "test",
      to_string(options.dtype),
      options.bf16 ? ", bf16 blobs" : "",
      options.nhwc.value_or(options.bf16) ? ", nhwc" : "",
      backend->description());
  for (const Row& row : rows) {
    std::string line = fmt::format(
        "  {:<{}}  {:<{}}  {:<{}}  {:>{}}  <- {:<{}}  {}",
        row.name,
        name,
        row.type,
        type,
        row.shape,
        shape,
        row.params,
        params_width,
        row.inputs,
        inputs_width,
        row.note);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  text += fmt::format(
      "parameters {}; memory: blobs {} ({} without sharing), parameters {}, gradients {}, scratch {}{}\n",
      total,
      human(memory.blobs),
      human(memory.blobs_unshared),
      shares_all_params ? "shared" : human(memory.params),
      human(memory.gradients),
      human(memory.scratch),
      memory.prepared > 0 ? fmt::format(", prepared weights {}", human(memory.prepared)) : "");
  return text;
}

std::string Net::Plan::dot() const {
  std::string text = fmt::format(
      "digraph \"{}\" {{\n  rankdir = BT;\n  node [shape = box, fontname = \"sans-serif\"];\n",
      escape(param.name));
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const Node& node = nodes[i];
    std::string shapes;
    for (const std::size_t t : node.tops) shapes += fmt::format("\\n{}", to_string(blobs[t].shape));
    text += fmt::format(
        "  layer{} [label = \"{}\\n{}{}\"{}];\n",
        i,
        escape(node.param.name()),
        escape(node.param.type()),
        shapes,
        !node.layer           ? ", style = filled, fillcolor = lightgrey"
        : node.params.empty() ? ", style = rounded"
                              : ", style = filled, fillcolor = lightblue");
  }
  for (std::size_t i = 0; i < nodes.size(); ++i)
    for (const std::size_t b : nodes[i].bottoms)
      text += fmt::format("  layer{} -> layer{} [label = \"{}\"];\n", blobs[b].producer, i, escape(blobs[b].name));
  return text + "}\n";
}

}  // namespace sparknet
