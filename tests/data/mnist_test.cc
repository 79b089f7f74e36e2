#include "sparknet/data/mnist.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "sparknet/random.h"
#include "tests/data/files.h"
#include "tests/temp_dir.h"
#include "tests/test_data.h"

using namespace sparknet;

namespace {

/// What read_mnist says about these two files, without the folder they are in; "" where it reads them.
std::string complaint(const Bytes& images, const Bytes& labels) {
  const TempDir folder;
  try {
    read_mnist(write_file(folder.path(), "images", images), write_file(folder.path(), "labels", labels));
    return "";
  } catch (const DataError& error) {
    const std::string text = error.what(), prefix = folder.path().string() + "/";
    CHECK(error.file().starts_with(prefix));
    std::string plain;
    for (std::size_t at = 0; at < text.size();) {
      if (text.compare(at, prefix.size(), prefix) == 0)
        at += prefix.size();
      else
        plain += text[at++];
    }
    return plain;
  }
}

Bytes cut(Bytes bytes, std::size_t size) {
  bytes.resize(size);
  return bytes;
}

Bytes with(Bytes bytes, std::size_t offset, std::uint8_t value) {
  bytes.at(offset) = value;
  return bytes;
}

}  // namespace

TEST_CASE("MNIST files become columns data and label") {
  const TempDir folder;
  const SourcePtr source = read_mnist(
      write_file(folder.path(), "images", idx_images(5, 4, 3)),
      write_file(folder.path(), "labels", idx_labels(5)));
  CHECK(source->size() == 5);
  REQUIRE(source->columns().size() == 2);
  CHECK(source->columns()[0] == Column{"data", {1, 4, 3}, DType::U8});
  CHECK(source->columns()[1] == Column{"label", {1}, DType::U8});
  CHECK(source->column("label") == 1);
  CHECK(source->column("Label") == -1);
  for (Dim i = 0; i < 5; ++i) {
    for (int pixel = 0; pixel < 12; ++pixel)
      CHECK(std::to_integer<int>(source->example(i, 0, nullptr)[pixel]) == i * 12 + pixel);
    CHECK(std::to_integer<int>(source->example(i, 1, nullptr)[0]) == i);
  }
  CHECK_THROWS_WITH_AS(source->example(5, 0, nullptr), "example 5 of a source of 5", ShapeError);
  CHECK_THROWS_WITH_AS(source->example(-1, 0, nullptr), "example -1 of a source of 5", ShapeError);
  CHECK_THROWS_WITH_AS(source->example(0, 2, nullptr), "column number 2 of a source of 2", ShapeError);
}

TEST_CASE("a wrong MNIST file is named, with the byte and what should be there") {
  const Bytes images = idx_images(5, 4, 3), labels = idx_labels(5);
  CHECK(complaint(images, labels) == "");

  CHECK(complaint({}, labels) == "images, byte 0: the file is empty");
  CHECK(complaint(cut(images, 3), labels) == "images, byte 3: the file ends inside of its magic number, 0x00000803");
  for (const std::size_t size : {4u, 7u, 8u, 15u})
    CHECK(
        complaint(cut(images, size), labels) ==
        "images, byte " + std::to_string(size) +
            ": the file ends inside of its header, and an image file's has 16 bytes");
  CHECK(
      complaint(cut(images, 16), labels) ==
      "images, byte 16: the file ends after 0 of the 5 images of 4 x 3 that its header promises; fetch the file again");
  CHECK(
      complaint(cut(images, 75), labels) ==
      "images, byte 75: the file ends after 4 of the 5 images of 4 x 3 that its header promises; fetch the file again");
  CHECK(
      complaint(cut(images, 79), labels) ==
      "images, byte 76: the file goes on for 3 bytes after the 5 images of 4 x 3 that its header promises");
  CHECK(
      complaint(images, cut(labels, 7)) ==
      "labels, byte 7: the file ends inside of its header, and a label file's has 8 bytes");
  CHECK(
      complaint(images, cut(labels, 12)) ==
      "labels, byte 12: the file ends after 4 of the 5 labels that its header promises; fetch the file again");
  CHECK(
      complaint(images, cut(labels, 14)) ==
      "labels, byte 13: the file goes on for 1 bytes after the 5 labels that its header promises");

  CHECK(
      complaint(labels, images) ==
      "images, byte 0: magic is 0x00000801 and an image file has 0x00000803; is it a label file?");
  CHECK(
      complaint(images, images) ==
      "labels, byte 0: magic is 0x00000803 and a label file has 0x00000801; is it an image file?");
  CHECK(
      complaint(with(images, 2, 9), labels) == "images, byte 0: magic is 0x00000903 and an image file has 0x00000803");
  CHECK(
      complaint(images, idx_labels(4)) ==
      "labels, byte 4: 4 labels, and images has 5 images; take two files of one set");
  CHECK(
      complaint(images, with(labels, 8 + 3, 10)) ==
      "labels, byte 11: the label of example 3 is 10 and labels are 0 to 9");
}

TEST_CASE("no header of an MNIST file makes the reader allocate what the file does not hold") {
  const Bytes labels = idx_labels(5);
  CHECK(
      complaint(idx({0x803, 0x80000000, 28, 28}, 100, 251), labels) ==
      "images, byte 116: the file ends after 0 of the 2147483648 images of 28 x 28 that its header promises; fetch the "
      "file again");
  // The bytes these headers promise are 2^96 and, modulo 2^64, 0.
  const Bytes huge = idx({0x803, 0xffffffff, 0xffffffff, 0xffffffff}, 100, 251);
  CHECK(complaint(huge, labels).starts_with("images, byte 116: the file ends after 0 of the 4294967295 images"));
  const Bytes wrapping = idx({0x803, 1u << 16, 1u << 24, 1u << 24}, 0, 251);
  CHECK(complaint(wrapping, labels).starts_with("images, byte 16: the file ends after 0 of the 65536 images"));

  CHECK(
      complaint(idx({0x803, 0, 28, 28}, 0, 251), labels) ==
      "images, byte 4: the header promises 0 examples, and a source has at least one");
  CHECK(complaint(idx({0x803, 5, 0, 28}, 0, 251), labels) == "images, byte 8: the header promises images of 0 rows");
  CHECK(
      complaint(idx({0x803, 5, 28, 0}, 0, 251), labels) == "images, byte 12: the header promises images of 0 columns");
}

TEST_CASE("random bytes and random damage are read or refused") {
  Random random(11);
  const Bytes images = idx_images(5, 4, 3), labels = idx_labels(5);
  for (int round = 0; round < 200; ++round) {
    Bytes noise(random.below(60) + 1);
    for (std::uint8_t& byte : noise) byte = static_cast<std::uint8_t>(random.bits());
    CHECK(complaint(noise, labels) != "");
    Bytes damaged = images;
    damaged[random.below(16)] ^= static_cast<std::uint8_t>(1 + random.below(255));
    CHECK(complaint(damaged, labels) != "");
    CHECK(complaint(cut(images, random.below(images.size())), labels) != "");
  }
}

TEST_CASE("paths that are no files are refused by name") {
  const TempDir folder;
  const auto images = write_file(folder.path(), "images", idx_images(5, 4, 3)),
             labels = write_file(folder.path(), "labels", idx_labels(5));
  const auto text = [&](const std::string& name) { return (folder / name).string(); };
  CHECK_THROWS_WITH_AS(
      read_mnist(folder / "none", labels),
      (text("none") + ": there is no such file").c_str(),
      DataError);
  CHECK_THROWS_WITH_AS(
      read_mnist(images, folder.path()),
      (folder.path().string() + ": this is a folder, and a file is wanted").c_str(),
      DataError);
  CHECK_THROWS_WITH_AS(read_mnist("/dev/null", labels), "/dev/null: this is no regular file", DataError);
  if (geteuid() != 0) {  // root may read everything
    std::filesystem::permissions(labels, std::filesystem::perms::none);
    CHECK_THROWS_WITH_AS(
        read_mnist(images, labels),
        (text("labels") + ": cannot be opened: Permission denied").c_str(),
        DataError);
  }

  CHECK_THROWS_WITH_AS(
      read_mnist_folder(folder / "none", true),
      (text("none") + ": there is no such folder").c_str(),
      DataError);
  write_file(folder.path(), "t10k-images-idx3-ubyte", idx_images(5, 4, 3));
  CHECK_THROWS_WITH_AS(
      read_mnist_folder(folder.path(), false),
      (folder.path().string() + ": neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte.gz is in this folder")
          .c_str(),
      DataError);
  write_file(folder.path(), "t10k-labels-idx1-ubyte", idx_labels(5));
  CHECK(read_mnist_folder(folder.path(), false)->size() == 5);
  try {
    read_mnist_folder(folder.path(), true);
    FAIL("there is no training set");
  } catch (const DataError& error) {
    CHECK(error.file() == folder.path().string());
    CHECK(error.offset() == -1);
  }
}

#ifdef SPARKNET_WITH_ZLIB

TEST_CASE("gzip files are known by their content, whatever their name and number of members") {
  const TempDir folder;
  const Bytes images = idx_images(100, 20, 20);
  Bytes members;
  for (std::size_t begin = 0; begin < images.size(); begin += 4500) {
    const auto first = images.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto length = static_cast<std::ptrdiff_t>(std::min<std::size_t>(4500, images.size() - begin));
    const Bytes member = gzip_stored(Bytes(first, first + length));
    members.insert(members.end(), member.begin(), member.end());
  }
  const SourcePtr plain =
      read_mnist(write_file(folder.path(), "a", images), write_file(folder.path(), "b", idx_labels(100)));
  const SourcePtr packed =
      read_mnist(write_file(folder.path(), "c", members), write_file(folder.path(), "d", gzip_stored(idx_labels(100))));
  for (Dim i = 0; i < 100; ++i) {
    CHECK(std::memcmp(plain->example(i, 0, nullptr), packed->example(i, 0, nullptr), 400) == 0);
    CHECK(plain->example(i, 1, nullptr)[0] == packed->example(i, 1, nullptr)[0]);
  }

  write_file(folder.path(), "train-images-idx3-ubyte.gz", gzip_stored(images));
  write_file(folder.path(), "train-labels-idx1-ubyte", idx_labels(100));
  CHECK(read_mnist_folder(folder.path(), true)->size() == 100);
}

TEST_CASE("a damaged gzip file is refused at a byte of the file") {
  const Bytes labels = idx_labels(5), images = idx_images(5, 4, 3), packed = gzip_stored(images);  // 76 of 99 bytes
  REQUIRE(packed.size() == 99);
  CHECK(
      complaint(with(packed, 40, 0), labels) ==
      "images, byte 95: the gzip stream is damaged (incorrect data check), after 76 bytes of content; fetch the file "
      "again");
  CHECK(
      complaint(with(packed, 98, 1), labels) ==
      "images, byte 99: the gzip stream is damaged (incorrect length check), after 76 bytes of content; fetch the file "
      "again");
  CHECK(
      complaint(cut(packed, 50), labels) ==
      "images, byte 50: the gzip stream is cut short, after 35 bytes of content; fetch the file again");
  for (std::size_t size = 2; size < packed.size(); ++size) {
    CAPTURE(size);
    CHECK(complaint(cut(packed, size), labels).find("the gzip stream is cut short, after ") != std::string::npos);
  }
  CHECK(
      complaint(cut(packed, 103), labels) ==
      "images, byte 99: 4 bytes too many in the gzip file, after 76 bytes of content; fetch the file again");
  CHECK(
      complaint(gzip_stored({}), labels) == "images, byte 0: the file is empty (counted in the uncompressed content)");
  CHECK(
      complaint(gzip_stored(cut(images, 75)), labels) ==
      "images, byte 75: the file ends after 4 of the 5 images of 4 x 3 that its header promises; fetch the file again "
      "(counted in the uncompressed content)");
}

#else

TEST_CASE("without zlib a gzip file is refused, with what to do") {
  CHECK(
      complaint(gzip_stored(idx_images(5, 4, 3)), idx_labels(5)) ==
      "images, byte 0: the file is gzip, and this library was built without zlib: gunzip the file, or build with zlib");
}

#endif

TEST_SUITE("data") {
  TEST_CASE("the real MNIST has its known sizes, mean and labels") {
    const auto folder = test_data("mnist");
    if (!folder) return;
    for (const bool train : {true, false}) {
      const SourcePtr source = read_mnist_folder(*folder, train);
      REQUIRE(source->size() == (train ? 60'000 : 10'000));
      CHECK(source->columns()[0].shape == Shape{1, 28, 28});
      std::uint64_t sum = 0;
      std::array<int, 10> labels{};
      for (Dim i = 0; i < source->size(); ++i) {
        const std::byte* const pixels = source->example(i, 0, nullptr);
        for (int j = 0; j < 784; ++j) sum += std::to_integer<std::uint64_t>(pixels[j]);
        ++labels[std::to_integer<std::size_t>(source->example(i, 1, nullptr)[0])];
      }
      const double mean = static_cast<double>(sum) / (784.0 * static_cast<double>(source->size())) / 255;
      if (train) {
        CHECK(mean == doctest::Approx(0.13066).epsilon(1e-4));
        CHECK(labels == std::array{5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949});
      } else {
        CHECK(labels == std::array{980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009});
      }
    }
  }
}
