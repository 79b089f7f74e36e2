#include "src/caffe/proto.h"

#include <doctest/doctest.h>

#include <string>

#include "sparknet/error.h"
#include "tests/temp_dir.h"

using namespace sparknet;
using namespace sparknet::caffe;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

/// What parse says of these bytes.
std::string trouble(const std::string& bytes) {
  proto::NetParameter net;
  try {
    parse("file", bytes_of(bytes), net);
  } catch (const DataError& error) {
    return error.what();
  }
  return "none";
}

proto::NetParameter small_net() {
  proto::NetParameter net;
  net.set_name("n");
  proto::LayerParameter& layer = *net.add_layer();
  layer.set_name("ip");
  layer.add_blobs()->add_data(1.5F);
  return net;
}

}  // namespace

TEST_CASE("a message is written and read") {
  const TempDir dir;
  write_message(dir / "net", small_net());
  proto::NetParameter net;
  read_message(dir / "net", net);
  CHECK(net.SerializeAsString() == small_net().SerializeAsString());
  CHECK_THROWS_WITH_AS(
      read_message(dir / "none", net),
      ((dir / "none").string() + ": there is no such file").c_str(),
      DataError);
}

TEST_CASE("a message that is cut off anywhere is read as far as it goes, or refused") {
  const std::string whole = small_net().SerializeAsString();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    const std::string said = trouble(whole.substr(0, size));
    // Whole up to the end of the name; then comes one layer, which is whole at the end.
    CHECK((said == "none") == (size == 0 || size == 3));
    if (size > 7)
      CHECK(said == "file, byte 6: in layer: 12 bytes are announced and " + std::to_string(size - 6) + " are left");
  }
}

TEST_CASE("damage is named with its place") {
  using namespace std::string_literals;
  CHECK(trouble("\x0a\x01n"s) == "none");
  CHECK(
      trouble("\x0a\xff\xff\xff\xff\x07n"s) == "file, byte 6: in name: 2147483647 bytes are announced and 1 are left");
  CHECK(
      trouble("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"s) ==
      "file, byte 11: in name: 18446744073709551615 bytes are announced and 0 are left");
  CHECK(trouble("\x00\x00"s) == "file, byte 0: a field has the number 0");
  CHECK(trouble("\x28"s) == "file, byte 1: in force_backward: it ends inside of a number");
  CHECK(trouble("\x0f"s) == "file, byte 0: there is no field of kind 7");
  CHECK(
      trouble("\x12\x05\x32\x03\x2a\x01\x00"s) ==
      "file, byte 6: in layers.blobs.data: its 1 bytes are no whole numbers of 4 bytes");
}
