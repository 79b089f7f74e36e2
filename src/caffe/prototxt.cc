#include "sparknet/caffe/prototxt.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/tokenizer.h>

#include <mutex>
#include <optional>
#include <set>

#include "src/caffe/catalog.h"
#include "src/caffe/text.h"
#include "src/caffe/upgrade.h"
#include "src/io/atomic_file.h"
#include "src/io/file.h"
#include "src/suggest.h"

namespace sparknet::caffe {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

std::string place(const std::string& file, int line, int column) {
  if (line <= 0) return file;
  return column <= 0 ? fmt::format("{}:{}", file, line) : fmt::format("{}:{}:{}", file, line, column);
}

/// What stands between `before` and `after` in a text that begins with the one and goes on with the other.
std::optional<std::string> between(std::string_view text, std::string_view before, std::string_view after) {
  if (!text.starts_with(before)) return {};
  text.remove_prefix(before.size());
  const std::size_t end = text.find(after);
  if (end == std::string_view::npos) return {};
  return std::string(text.substr(0, end));
}

/// All types of messages, which are declared in one file.
template <class V>
void for_each_message(V&& visit) {
  const auto* file = proto::NetParameter::descriptor()->file();
  for (int i = 0; i < file->message_type_count(); ++i) visit(*file->message_type(i));
}

/// protobuf's message in our words, with what was perhaps meant.
std::string explained(const std::string& message) {
  if (const auto type = between(message, "Message type \"sparknet_caffe.", "\" has no field named \"")) {
    const auto wanted =
        between(message, fmt::format("Message type \"sparknet_caffe.{}\" has no field named \"", *type), "\"");
    std::vector<std::string> names;
    for_each_message([&](const Descriptor& candidate) {
      for (int i = 0; candidate.name() == *type && i < candidate.field_count(); ++i)
        names.push_back(candidate.field(i)->name());
    });
    return fmt::format(
        "{} has no field \"{}\"{}",
        *type,
        wanted.value_or(""),
        did_you_mean(wanted.value_or(""), names));
  }
  if (const auto wanted = between(message, "Unknown enumeration value of \"", "\" for field \"")) {
    const auto field = between(message, fmt::format("Unknown enumeration value of \"{}\" for field \"", *wanted), "\"");
    std::set<std::string> names;
    for_each_message([&](const Descriptor& candidate) {
      const FieldDescriptor* found = candidate.FindFieldByName(field.value_or(""));
      for (int i = 0; found && found->enum_type() && i < found->enum_type()->value_count(); ++i)
        names.insert(found->enum_type()->value(i)->name());
    });
    const std::vector<std::string> list(names.begin(), names.end());
    return fmt::format("{} cannot be {}{}", field.value_or(""), *wanted, did_you_mean(*wanted, list));
  }
  return message;
}

/// Keeps the first error, of which others follow.
class FirstError final : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (!found_) found_ = true, line_ = line + 1, column_ = column + 1, message_ = message;
  }

  [[noreturn]] void fail(const std::string& file) const {
    throw PrototxtError(file, line_, column_, found_ ? explained(message_) : "cannot be read");
  }

 private:
  bool found_ = false;
  int line_ = 0, column_ = 0;
  std::string message_;
};

/// The same text for as long as the program runs, as Where wants it.
const char* kept(const std::string& file) {
  static std::mutex mutex;
  static std::set<std::string> files;
  const std::lock_guard lock(mutex);
  return files.insert(file).first->c_str();
}

}  // namespace

PrototxtError::PrototxtError(std::string file, int line, int column, const std::string& why)
    : DataError(place(file, line, column), -1, why), file_(std::move(file)), line_(line), column_(column) {}

void parse_text(const std::string& file, std::string_view text, google::protobuf::Message& message, Places& places) {
  FirstError errors;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&errors);
  parser.WriteLocationsTo(&places);
  parser.AllowPartialMessage(true);
  parser.SetRecursionLimit(50);
  if (!parser.ParseFromString(std::string(text), &message)) errors.fail(file);
}

std::string print_text(const google::protobuf::Message& message) {
  std::string text;
  if (!google::protobuf::TextFormat::PrintToString(message, &text)) throw Error("a prototxt cannot be printed");
  return text;
}

std::string read_text(const std::filesystem::path& file) {
  const detail::File content(file);
  return std::string(reinterpret_cast<const char*>(content.data()), content.size());
}

std::vector<LayerLine> layer_lines(const proto::NetParameter& net, const Places* places) {
  std::vector<LayerLine> lines;
  const auto line = [&](const char* name, int index) {
    return places ? places->GetLocation(net.GetDescriptor()->FindFieldByName(name), index).line + 1 : 0;
  };
  for (int i = 0; i < net.layers_size(); ++i) {
    const auto& layer = net.layers(i);
    lines.push_back({layer.has_layer() ? layer.layer().name() : layer.name(), line("layers", i)});
  }
  for (int i = 0; i < net.layer_size(); ++i) lines.push_back({net.layer(i).name(), line("layer", i)});
  return lines;
}

NetParam net_from(const proto::NetParameter& net, const std::string& file, const std::vector<LayerLine>& lines) {
  NetParam param(net.name());
  param.force_backward = net.force_backward();
  const char* name = kept(file);
  // An upgrade may have added layers, behind the one they come from, and taken some away; the others are in their
  // order.
  std::size_t next = 0;
  int line = 0;
  for (const proto::LayerParameter& layer : net.layer()) {
    std::size_t at = next;
    while (at < lines.size() && lines[at].name != layer.name()) ++at;
    if (at < lines.size()) line = lines[at].line, next = at + 1;
    try {
      param.add(read_layer(layer, Where{name, line}));
    } catch (const BadInput& why) {
      const std::string type = layer.type().empty() ? "" : fmt::format(" ({})", layer.type());
      throw PrototxtError(file, line, 0, fmt::format("layer \"{}\"{}: {}", layer.name(), type, why.what()));
    }
  }
  return param;
}

proto::NetParameter net_to(const NetParam& net) {
  proto::NetParameter to;
  if (!net.name.empty()) to.set_name(net.name);
  if (net.force_backward) to.set_force_backward(true);
  for (const LayerParam& layer : net.layers) {
    try {
      *to.add_layer() = write_layer(layer);
    } catch (const BadInput& why) {
      throw Error(fmt::format("net \"{}\", layer \"{}\" ({}): {}", net.name, layer.name(), layer.type(), why.what()));
    }
  }
  return to;
}

NetParam parse_net(std::string_view text, const std::string& name) {
  proto::NetParameter net;
  Places places;
  parse_text(name, text, net, places);
  const std::vector<LayerLine> lines = layer_lines(net, &places);
  upgrade(net, name);
  return net_from(net, name, lines);
}

NetParam read_net(const std::filesystem::path& file) {
  return parse_net(read_text(file), file.string());
}

std::string to_prototxt(const NetParam& net) {
  return print_text(net_to(net));
}

void write_net(const NetParam& net, const std::filesystem::path& file) {
  const std::string text = to_prototxt(net);
  detail::write_atomically(file, std::as_bytes(std::span(text)));
}

}  // namespace sparknet::caffe
