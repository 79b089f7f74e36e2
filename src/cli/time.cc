#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include "sparknet/layers/inner_product.h"
#include "src/cli/commands.h"

namespace sparknet::cli {
namespace {

using Clock = std::chrono::steady_clock;

/// One layer and what a pass over a batch costs.
struct Row {
  std::string name, type;
  /// Multiplications and additions of weights with examples; 0 for layers that have none.
  double forward_flops = 0, backward_flops = 0;
  /// What is read and written at least: bottoms, tops and parameters.
  double bytes = 0;
  double forward_seconds = 0, backward_seconds = 0;
};

double number(Dim count) {
  return static_cast<double>(count);
}

/// How often each number of a layer's parameter is multiplied and added.
double uses_of(const InferredLayer& layer, std::size_t position, const Shape& shape) {
  const std::string_view type = layer.param.type();
  if (type.starts_with("Convolution") || type.starts_with("DepthwiseConvolution"))
    return shape.size() > 1 ? number(layer.top_shapes[0].count()) / number(shape[0]) : 0;
  if (type.starts_with("Deconvolution"))
    return shape.size() > 1 ? number(layer.bottom_shapes[0].count()) / number(shape[0]) : 0;
  if (const auto* product = layer.param.as<InnerProductLayer>())
    return shape.size() > 1 ? number(layer.top_shapes[0].count()) / number(product->options.num_output) : 0;
  if (type == "LSTMLayer" || type == "RNNLayer") {
    if (shape.size() < 2) return 0;
    const Shape& x = layer.bottom_shapes[0];
    const bool of_static = layer.bottom_shapes.size() > 2 && position == 2;
    return number(of_static ? x[1] : x[0] * x[1]);
  }
  return 0;
}

std::vector<Row> rows_of(const Net& net) {
  struct Own {
    std::size_t position;
    Shape shape;
    bool learns;
  };
  std::map<std::string, std::vector<Own>> params;
  for (const ParamInfo& info : net.params()) {
    std::vector<Own>& own = params[info.layer];
    own.push_back({own.size(), info.shape, info.lr_mult != 0});
  }
  for (const SharedParam& shared : net.shared_params())
    params[shared.layer].push_back({shared.position, shared.shape, net.params()[shared.owner].lr_mult != 0});

  std::vector<Row> rows;
  std::set<std::string> learned;  // the blobs that depend on parameters that learn
  for (const InferredLayer& layer : infer_shapes(net.param(), net.options().state())) {
    Row row{.name = layer.param.name(), .type = std::string(layer.param.type())};
    const bool from_learned =
        net.param().force_backward ||
        std::ranges::any_of(layer.param.inputs(), [&](const std::string& bottom) { return learned.contains(bottom); });
    bool learns = from_learned;
    Dim elements = 0;
    for (const Own& own : params[row.name]) {
      const double flops = 2 * uses_of(layer, own.position, own.shape) * number(own.shape.count());
      row.forward_flops += flops;
      row.backward_flops += flops * ((own.learns ? 1 : 0) + (from_learned ? 1 : 0));
      learns = learns || own.learns;
      elements += own.shape.count();
    }
    for (const Shape& shape : layer.bottom_shapes) elements += shape.count();
    for (const Shape& shape : layer.top_shapes) elements += shape.count();
    row.bytes = number(elements) * static_cast<double>(size_of(net.options().dtype));
    if (learns) learned.insert(layer.tops.begin(), layer.tops.end());
    rows.push_back(std::move(row));
  }
  return rows;
}

/// Zeros and ones for inputs that no layer fills, which are numbers, classes and indices; where there is one for each
/// example, class 0.
void fill_inputs(Net& net) {
  for (const InferredLayer& layer : infer_shapes(net.param(), net.options().state())) {
    if (!layer.bottom_shapes.empty() || layer.param.make()) continue;
    for (std::size_t t = 0; t < layer.tops.size(); ++t) {
      Tensor values(layer.top_shapes[t]);
      if (values.count() > net.batch_size()) {
        Dim i = 0;
        for (float& value : values.span<float>()) value = static_cast<float>(i++ * 7 % 31 % 2);
      }
      net.set_input(layer.tops[t], values);
    }
  }
}

/// A speed or a size; empty where there is none.
std::string giga(double count, double seconds) {
  return count > 0 && seconds > 0 ? fmt::format("{:.1f}", count / seconds / 1e9) : "";
}

}  // namespace

int time(const TimeArguments& arguments) {
  Net net = open_net(arguments.net);
  if (!net.is_fed()) fill_inputs(net);
  std::vector<Row> rows = rows_of(net);
  std::map<std::string, Row*> by_name;
  for (Row& row : rows) by_name[row.name] = &row;
  const bool trains = arguments.net.phase == Phase::Train;

  Clock::time_point last;
  bool measures = false;
  net.set_observer([&](const LayerParam& layer, bool backward) {
    const Clock::time_point now = Clock::now();
    Row& row = *by_name.at(layer.name());
    if (measures)
      (backward ? row.backward_seconds : row.forward_seconds) += std::chrono::duration<double>(now - last).count();
    last = Clock::now();
  });
  for (std::int64_t i = -1; i < arguments.iterations; ++i) {  // the first pass fills caches
    measures = i >= 0;
    last = Clock::now();
    net.forward();
    if (!trains) continue;
    net.clear_gradients();
    last = Clock::now();
    net.backward();
  }

  const auto n = static_cast<double>(arguments.iterations);
  Row all{.name = "all", .type = ""};
  std::size_t name_width = 5, type_width = 0;
  for (const Row& row : rows) {
    all.forward_flops += row.forward_flops, all.backward_flops += row.backward_flops;
    all.bytes += row.bytes;
    all.forward_seconds += row.forward_seconds, all.backward_seconds += row.backward_seconds;
    name_width = std::max(name_width, row.name.size());
    type_width = std::max(type_width, row.type.size());
  }
  rows.push_back(all);
  fmt::print(
      "{}, {}, {} passes of {} examples, {} threads\n",
      net.param().name,
      trains ? "train" : "test",
      arguments.iterations,
      net.batch_size(),
      net.threads());
  fmt::print(
      "{:<{}}  {:<{}}  {:>11}  {:>7}  {:>11}  {:>7}  {:>9}\n",
      "layer",
      name_width,
      "",
      type_width,
      "forward ms",
      "GFLOP/s",
      trains ? "backward ms" : "",
      trains ? "GFLOP/s" : "",
      "MB");
  for (const Row& row : rows) {
    std::string line = fmt::format(
        "{:<{}}  {:<{}}  {:>11.4f}  {:>7}  {:>11}  {:>7}  {:>9.3f}\n",
        row.name,
        name_width,
        row.type,
        type_width,
        row.forward_seconds / n * 1e3,
        giga(row.forward_flops, row.forward_seconds / n),
        trains ? fmt::format("{:.4f}", row.backward_seconds / n * 1e3) : "",
        trains ? giga(row.backward_flops, row.backward_seconds / n) : "",
        row.bytes / 1e6);
    fmt::print("{}", line);
  }
  const double seconds = (all.forward_seconds + all.backward_seconds) / n;
  fmt::print("{:.4f} ms in all, {:.0f} examples/s\n", seconds * 1e3, number(net.batch_size()) / seconds);
  return 0;
}

}  // namespace sparknet::cli
