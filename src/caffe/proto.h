#pragma once

// Caffe's messages as classes, and how they are read and written. Private: public headers know no protobuf.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "src/caffe/caffe.pb.h"

namespace sparknet::caffe {

namespace proto = sparknet_caffe;

/// Reads a message from the bytes of a file that is called `file` in messages. Throws DataError, with the byte where
/// reading stopped. Lengths that lie allocate nothing.
void parse(const std::string& file, std::span<const std::byte> bytes, google::protobuf::Message& message);
/// The same from a whole file, which may be gzip.
void read_message(const std::filesystem::path& file, google::protobuf::Message& message);
/// Writes the message in a file that is whole or not there. Throws DataError, also for more than protobuf's 2 GiB.
void write_message(const std::filesystem::path& file, const google::protobuf::Message& message);

}  // namespace sparknet::caffe
