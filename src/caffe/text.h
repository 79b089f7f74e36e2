#pragma once

#include <google/protobuf/text_format.h>

#include <string>
#include <string_view>
#include <vector>

#include "sparknet/error.h"
#include "sparknet/net_param.h"
#include "src/caffe/proto.h"

namespace sparknet::caffe {

using Places = google::protobuf::TextFormat::ParseInfoTree;

/// Reads a message; `places` learns where in the text its fields are. Throws PrototxtError.
void parse_text(const std::string& file, std::string_view text, google::protobuf::Message& message, Places& places);
std::string print_text(const google::protobuf::Message& message);
/// The content of a file. Throws DataError.
std::string read_text(const std::filesystem::path& file);

/// Where the layers of a net are, by names in the order of the file; to be asked before the net is upgraded.
struct LayerLine {
  std::string name;
  int line;
};
std::vector<LayerLine> layer_lines(const proto::NetParameter& net, const Places* places);
/// A net in today's form becomes a description. Throws PrototxtError.
NetParam net_from(const proto::NetParameter& net, const std::string& file, const std::vector<LayerLine>& lines);
/// The other way. Throws Error.
proto::NetParameter net_to(const NetParam& net);

}  // namespace sparknet::caffe
