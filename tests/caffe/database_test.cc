#include "sparknet/caffe/database.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "sparknet/data/cifar.h"
#include "sparknet/data/mnist.h"
#include "src/caffe/key_value.h"
#include "src/caffe/proto.h"
#include "tests/caffe/image_files.h"
#include "tests/temp_dir.h"
#include "tests/test_data.h"

using namespace sparknet;
using namespace sparknet::caffe;

namespace {

template <class F>
std::string trouble(F&& f) {
  try {
    f();
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

/// Whether two sources of images and labels give the same.
bool same(const DataSource& a, const DataSource& b) {
  if (a.size() != b.size() || a.columns()[0] != b.columns()[0]) return false;
  std::vector<std::byte> left(a.columns()[0].bytes()), right(left.size());
  std::byte one[4], other[4];
  for (Dim i = 0; i < a.size(); ++i) {
    if (std::memcmp(a.example(i, 0, left.data()), b.example(i, 0, right.data()), left.size()) != 0) return false;
    std::int32_t found = 0;
    std::memcpy(&found, a.example(i, 1, one), 4);
    if (found != std::to_integer<std::int32_t>(*b.example(i, 1, other))) return false;
  }
  return true;
}

SourcePtr small(Dim count, DType dtype) {
  Tensor images({count, 2, 3, 4}, dtype), labels({count, 1}, DType::I32);
  for (Dim i = 0; i < count; ++i)
    labels.span<std::int32_t>()[static_cast<std::size_t>(i)] = static_cast<int>(i * 7 - 3);
  dispatch(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto span = images.span<T>();
    for (std::size_t i = 0; i < span.size(); ++i) span[i] = static_cast<T>(i % 251);
  });
  return from_tensors({{"data", images}, {"label", labels}});
}

constexpr Database kinds[] = {
#ifdef SPARKNET_WITH_LMDB
    Database::LMDB,
#endif
#ifdef SPARKNET_WITH_LEVELDB
    Database::LevelDB,
#endif
};

}  // namespace

TEST_CASE("a database gives what was written, in the order of keys, to any thread") {
  for (const Database kind : kinds)
    for (const DType dtype : {DType::U8, DType::F32}) {
      CAPTURE(to_text(kind));
      const TempDir folder;
      const SourcePtr written = small(2345, dtype);
      write_database(folder / "db", kind, *written);
      const SourcePtr source = read_database(folder / "db", kind);
      const SourcePtr again = read_database(folder / "db", kind);  // opened once, read by both
      REQUIRE(source->size() == 2345);
      CHECK(source->columns()[0] == Column{"data", {2, 3, 4}, dtype});
      CHECK(source->columns()[1] == Column{"label", {1}, DType::I32});
      std::atomic<int> wrong = 0;
      const auto look = [&](const SourcePtr& from, Dim first) {
        std::vector<std::byte> image(written->columns()[0].bytes()), label(4);
        for (Dim i = first; i < first + 2345; ++i) {
          const Dim at = i * 17 % 2345;
          wrong += std::memcmp(from->example(at, 0, image.data()), written->example(at, 0, nullptr), image.size()) != 0;
          wrong += std::memcmp(from->example(at, 1, label.data()), written->example(at, 1, nullptr), 4) != 0;
        }
      };
      std::thread other([&] { look(source, 900); });
      look(again, 0);
      other.join();
      CHECK(wrong == 0);
      CHECK_THROWS_AS(source->example(2345, 0, nullptr), ShapeError);
    }
}

TEST_CASE("a database is made whole or not at all, and never written over") {
  for (const Database kind : kinds) {
    CAPTURE(to_text(kind));
    const TempDir folder;
    const std::string db = (folder / "db").string();
    write_database(db, kind, *small(3, DType::U8));
    CHECK(trouble([&] {
            write_database(db, kind, *small(4, DType::U8));
          }) == db + ": is there already, and is not written over; remove it first");
    CHECK(read_database(db, kind)->size() == 3);
    const SourcePtr breaks = from_callback(
        {{"data", {1, 1, 1}, DType::U8}, {"label", {1}, DType::U8}},
        5,
        [](Dim i, std::span<std::byte* const> out) {
          if (i == 3) throw DataError("source", -1, "broken");
          *out[0] = *out[1] = std::byte{0};
        });
    CHECK(trouble([&] { write_database(folder / "half", kind, *breaks); }) == "source: broken");
    int entries = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) ++entries;
    CHECK(entries == 1);

    CHECK(trouble([&] {
            read_database(folder / "none", kind);
          }) == (folder / "none").string() + ": there is no such folder");
    std::filesystem::create_directory(folder / "empty");
    CHECK(
        trouble([&] { read_database(folder / "empty", kind); }) ==
        (folder / "empty").string() + (kind == Database::LMDB ? ": is no LMDB database: it has no file data.mdb"
                                                              : ": is no LevelDB database: it has no file CURRENT"));
    write_database(folder / "nothing", kind, *small(0, DType::U8));
    CHECK(trouble([&] {
            read_database(folder / "nothing", kind);
          }) == (folder / "nothing").string() + ": the database has no examples");
    CHECK(trouble([&] {
            write_database(folder / "long", kind, *small(11, DType::U8), 1);
          }) == (folder / "long").string() + ": 11 examples do not have keys of 1 digits");
  }
}

TEST_CASE("examples of a database: encoded, of floats, damaged, of another shape; keys as Caffe writes them") {
  for (const Database kind : kinds) {
    CAPTURE(to_text(kind));
    const TempDir folder;
    const auto write = [&](const std::string& name, const std::vector<std::string>& values) {
      std::filesystem::create_directory(folder / name);
      const auto db =
          kind == Database::LMDB ? make_lmdb(folder / name, 1 << 20) : make_leveldb(folder / (name + "/db"));
      for (std::size_t i = values.size(); i-- > 0;) db->put("k" + std::to_string(i), values[i]);  // sorted by key
      db->finish();
      return (kind == Database::LMDB ? folder / name : folder / (name + "/db")).string();
    };
    const auto datum = [](int channels, int height, int width, const std::string& data, int label) {
      proto::Datum one;
      one.set_channels(channels), one.set_height(height), one.set_width(width), one.set_data(data),
          one.set_label(label);
      return one;
    };
    std::byte memory[64];
    const proto::Datum good = datum(1, 1, 3, "abc", 5);
    const std::string mixed = write(
        "mixed",
        {good.SerializeAsString(),
         datum(1, 3, 1, "abc", 6).SerializeAsString(),
         "\x0a",
         datum(1, 1, 3, "ab", 7).SerializeAsString(),
         datum(1, -1, 3, "ab", 7).SerializeAsString(),
         datum(1, 1, 3, "xyz", -8).SerializeAsString()});
    const SourcePtr source = read_database(mixed, kind);
    REQUIRE(source->size() == 6);
    const auto why = [&](Dim index) { return trouble([&] { source->example(index, 0, memory); }); };
    CHECK(why(0) == "");
    CHECK(why(1) == mixed + ", key \"k1\": is u8 [1, 3, 1], and the first example is u8 [1, 1, 3]; all must be alike");
    CHECK(why(2).starts_with(mixed + ", key \"k2\""));
    CHECK(
        why(3) ==
        mixed +
            ", key \"k3\": has shape [1, 1, 3], which is 3 values, and 2 are there; is it an image that is not "
            "marked as encoded?");
    CHECK(why(4) == mixed + ", key \"k4\": has the impossible shape [1, -1, 3]");
    CHECK(std::memcmp(source->example(5, 0, memory), "xyz", 3) == 0);
    std::int32_t label = 0;
    std::memcpy(&label, source->example(5, 1, memory), 4);
    CHECK(label == -8);

#ifdef SPARKNET_WITH_PNG
    proto::Datum image;
    image.set_encoded(true);
    image.set_data(png_file({1, 2, 3, 4, 5, 6}, 1, 2, 3));
    image.set_label(3);
    const std::string encoded = write("encoded", {image.SerializeAsString()});
    const SourcePtr color = read_database(encoded, kind), gray = read_database(encoded, kind, DecodeAs::Gray);
    CHECK(color->columns()[0] == Column{"data", {3, 1, 2}, DType::U8});
    CHECK(gray->columns()[0] == Column{"data", {1, 1, 2}, DType::U8});
    CHECK(std::memcmp(color->example(0, 0, memory), "\1\4\2\5\3\6", 6) == 0);
    CHECK(std::memcmp(gray->example(0, 0, memory), "\2\5", 2) == 0);
#endif

    write_database(folder / "keys", kind, *small(12, DType::F32), 5);
    const auto keys = kind == Database::LMDB ? open_lmdb(folder / "keys") : open_leveldb(folder / "keys");
    CHECK(keys->key(0) == "00000");
    CHECK(keys->key(11) == "00011");
    std::string buffer;
    proto::Datum floats;
    parse("datum", keys->value(11, buffer), floats);
    CHECK(floats.float_data_size() == 24);
    CHECK(!floats.has_data());
    CHECK(floats.label() == 74);
  }
}

TEST_SUITE_BEGIN("data");

#ifdef SPARKNET_WITH_LMDB
TEST_CASE("an LMDB that is cut off is refused, and not looked at behind its end") {
  const TempDir folder;
  const SourcePtr source = from_callback(
      {{"data", {3, 40, 40}, DType::U8}, {"label", {1}, DType::I32}},
      200,
      [](Dim index, std::span<std::byte* const> out) {
        std::fill_n(out[0], 4800, static_cast<std::byte>(index));
        *reinterpret_cast<std::int32_t*>(out[1]) = static_cast<std::int32_t>(index);
      });
  write_database(folder / "db", Database::LMDB, *source);
  std::filesystem::resize_file(folder / "db" / "data.mdb", 64 << 10);
  CHECK_THROWS_WITH_AS(
      read_database(folder / "db", Database::LMDB),
      doctest::Contains("the database is cut off: it has "),
      DataError);
}
#endif

TEST_CASE("MNIST and CIFAR-10 in Caffe's databases are what their files hold") {
  const auto mnist = test_data("mnist"), cifar = test_data("cifar10");
  if (!mnist || !cifar) return;
  for (const Database kind : kinds) {
    CAPTURE(to_text(kind));
    const TempDir folder;
    for (const std::string set : {"train", "t10k"}) {
      const auto images = *mnist / (set + "-images-idx3-ubyte.gz"), labels = *mnist / (set + "-labels-idx1-ubyte.gz");
      convert_mnist(images, labels, folder / set, kind);
      CHECK(same(*read_database(folder / set, kind), *read_mnist(images, labels)));
    }
    const std::vector<std::filesystem::path> batches = {*cifar / "data_batch_1.bin.gz", *cifar / "data_batch_2.bin.gz"};
    convert_cifar10(batches, folder / "cifar", kind);
    CHECK(same(*read_database(folder / "cifar", kind), *read_cifar10(batches)));
  }
}

TEST_SUITE_END();
