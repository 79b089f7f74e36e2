#include "sparknet/data/cifar.h"

#include <doctest/doctest.h>

#include <array>

#include "tests/data/files.h"
#include "tests/temp_dir.h"
#include "tests/test_data.h"

using namespace sparknet;

TEST_CASE("CIFAR-10 files become one source, in their order") {
  const TempDir folder;
  Bytes second = cifar_records(2);
  second[0] = 7;
  const SourcePtr source =
      read_cifar10({write_file(folder.path(), "a", cifar_records(3)), write_file(folder.path(), "b", second)});
  CHECK(source->size() == 5);
  CHECK(source->columns()[0] == Column{"data", {3, 32, 32}, DType::U8});
  CHECK(source->columns()[1] == Column{"label", {1}, DType::U8});
  const int labels[] = {0, 1, 2, 7, 1};
  for (Dim i = 0; i < 5; ++i) {
    CHECK(std::to_integer<int>(source->example(i, 1, nullptr)[0]) == labels[i]);
    const int first = static_cast<int>((i < 3 ? i : i - 3) * 3072);
    for (int j = 0; j < 3072; ++j)
      REQUIRE(std::to_integer<int>(source->example(i, 0, nullptr)[j]) == (first + j) % 251);
  }
  CHECK_THROWS_AS(source->example(5, 0, nullptr), ShapeError);
  CHECK_THROWS_AS(source->example(0, 2, nullptr), ShapeError);
}

TEST_CASE("a wrong CIFAR-10 file is named, with the byte and what should be there") {
  const TempDir folder;
  const auto complaint = [&](const std::string& name, const Bytes& bytes) -> std::string {
    try {
      read_cifar10({write_file(folder.path(), "good", cifar_records(2)), write_file(folder.path(), name, bytes)});
      return "";
    } catch (const DataError& error) {
      return std::string(error.what()).substr(folder.path().string().size() + 1);
    }
  };
  Bytes bytes = cifar_records(2);
  CHECK(complaint("a", bytes) == "");

  bytes.push_back(0);
  CHECK(
      complaint("long", bytes) ==
      "long, byte 6146: 1 bytes after 2 whole records of 3073 bytes; is it CIFAR-10's binary version, and complete?");
  bytes.resize(3072);
  CHECK(
      complaint("short", bytes) ==
      "short, byte 0: 3072 bytes after 0 whole records of 3073 bytes; is it CIFAR-10's binary version, and complete?");
  bytes = cifar_records(3);
  bytes[2 * 3073] = 10;
  CHECK(complaint("label", bytes) == "label, byte 6146: the label of record 2 is 10 and labels are 0 to 9");
  CHECK(complaint("empty", {}) == "empty, byte 0: the file is empty");
  CHECK_THROWS_WITH_AS(read_cifar10({}), "CIFAR-10: no files were given, and at least one is wanted", DataError);
  CHECK_THROWS_AS(read_cifar10({folder / "none"}), DataError);
  CHECK_THROWS_AS(read_cifar10({folder.path()}), DataError);

#ifdef SPARKNET_WITH_ZLIB
  CHECK(complaint("packed", gzip_stored(cifar_records(2))) == "");
  CHECK(
      complaint("packed_label", gzip_stored(bytes)) ==
      "packed_label, byte 6146: the label of record 2 is 10 and labels are 0 to 9 (counted in the uncompressed "
      "content)");
#endif
}

TEST_SUITE("data") {
  TEST_CASE("the real CIFAR-10 test set has 1000 images of each class") {
    const auto folder = test_data("cifar10");
    if (!folder) return;
    const bool plain = std::filesystem::exists(*folder / "test_batch.bin");
    const SourcePtr source = read_cifar10({*folder / (plain ? "test_batch.bin" : "test_batch.bin.gz")});
    REQUIRE(source->size() == 10'000);
    std::array<int, 10> labels{};
    for (Dim i = 0; i < source->size(); ++i) ++labels[std::to_integer<std::size_t>(source->example(i, 1, nullptr)[0])];
    for (const int count : labels) CHECK(count == 1000);
  }
}
