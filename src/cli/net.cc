#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sparknet/caffe/prototxt.h"
#include "sparknet/caffe/weights.h"
#include "src/cli/commands.h"

namespace sparknet::cli {

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

void load_weights(Net& net, const std::string& files) {
  std::vector<std::string> kept;
  const std::vector<std::string> names = split(files);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const caffe::CopyReport report = caffe::copy_weights(net, names[i]);
    if (report.copied.empty() && !net.params().empty())
      throw DataError(names[i], -1, fmt::format("has no layer of net \"{}\"", net.param().name));
    // A layer keeps its numbers where no file has any.
    if (i == 0) kept = report.kept;
    std::erase_if(kept, [&](const std::string& name) {
      return std::find(report.copied.begin(), report.copied.end(), name) != report.copied.end();
    });
  }
  if (!kept.empty())
    fmt::print(
        stderr,
        "sparknet: note: {} {} nothing for {}, which begin{} as the fillers say\n",
        files,
        names.size() == 1 ? "has" : "have",
        fmt::join(kept, ", "),
        kept.size() == 1 ? "s" : "");
}

NetOptions net_options(const NetArguments& arguments, std::vector<std::string> keep) {
  return {
      .phase = arguments.phase,
      .device = arguments.device,
      .bf16 = arguments.bf16,
      .nhwc = arguments.nhwc,
      .threads = arguments.threads,
      .recompute = arguments.recompute,
      .freeze = arguments.freeze,
      .keep = std::move(keep),
      .level = arguments.level,
      .stages = split(arguments.stage)};
}

Net open_net(const NetArguments& arguments, std::vector<std::string> keep) {
  Net net(caffe::read_net(arguments.model), net_options(arguments, std::move(keep)));
  load_weights(net, arguments.weights);
  return net;
}

NetArguments frozen(NetArguments arguments) {
  arguments.freeze = arguments.phase == Phase::Test;
  return arguments;
}

void require_feeds(Net& net) {
  if (net.is_fed()) return;
  throw NetError(
      fmt::format(
          "net \"{}\" has inputs that no layer fills; it needs one that reads data, as Data, ImageData or HDF5Data",
          net.param().name),
      net.param().name);
}

std::string result_text(const std::string& output, double value) {
  return fmt::format("{} = {:g}", output, value);
}

}  // namespace sparknet::cli
