#include <fstream>
#include <set>

#include "sparknet/caffe/blob.h"
#include "sparknet/caffe/data.h"
#include "sparknet/caffe/image_data.h"
#include "sparknet/caffe/memory_data.h"
#include "tests/caffe/image_files.h"
#include "tests/layers/layer_test.h"
#include "tests/temp_dir.h"

using namespace sparknet;
using namespace sparknet::caffe;
using namespace sparknet::test;

namespace {

/// Example i is a 3 x 3 image of 10 i + 0..8 in each of two channels, labelled i.
SourcePtr counted(Dim count) {
  Tensor images({count, 2, 3, 3}, DType::U8), labels({count, 1}, DType::I32);
  for (Dim i = 0; i < images.count(); ++i)
    images.span<std::uint8_t>()[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(i / 18 * 10 + i % 9);
  for (Dim i = 0; i < count; ++i) labels.span<std::int32_t>()[static_cast<std::size_t>(i)] = static_cast<int>(i);
  return from_tensors({{"data", images}, {"label", labels}});
}

/// The next batch of a layer, as a net would get it.
std::vector<Tensor> batch_of(const LayerParam& layer, Phase phase, DType dtype = DType::F64) {
  const std::optional<LayerFeed> feed = layer.feed(phase);
  REQUIRE(feed.has_value());
  const std::vector<Shape> shapes = layer.infer({});
  std::vector<FeedSlot> slots;
  std::vector<Tensor> out;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    slots.push_back({feed->source->columns()[i].name, shapes[i], dtype});
    out.emplace_back(shapes[i], dtype);
  }
  Feed reads(feed->source, slots, feed->options);
  reads.next(out);
  return out;
}

}  // namespace

TEST_CASE("descriptions of layers that read examples") {
  check_description<DataLayer>();
  check_description<MemoryDataLayer>();
  check_description<ImageDataLayer>();
  const LayerParam data = DataLayer{"data", {.source = "db", .backend = Database::LMDB, .batch_size = 4}};
  CHECK(data.options_text() == "{.source = \"db\", .backend = Database::LMDB, .batch_size = 4}");
  CHECK(data.tops() == std::vector<std::string>{"data", "label"});
  CHECK(data.make() == nullptr);
}

#ifdef SPARKNET_WITH_LMDB
TEST_CASE("Data gives batches of a database, cropped, less the mean, scaled") {
  const TempDir folder;
  const std::string db = (folder / "db").string(), mean = (folder / "mean").string();
  write_database(db, Database::LMDB, *counted(5));
  DataLayer layer{"data", {.source = db, .backend = Database::LMDB, .batch_size = 3}};
  CHECK(LayerParam(layer).infer({}) == std::vector<Shape>{{3, 2, 3, 3}, {3}});
  CHECK(with(layer, {.top = {"only"}}).infer({}) == std::vector<Shape>{{3, 2, 3, 3}});
  CHECK(layer.feed(Phase::Train).options.prefetch == 4);
  std::vector<Tensor> plain = batch_of(layer, Phase::Train);
  check_equal(plain[1], numbers({3}, {0, 1, 2}));
  CHECK(plain[0].span<double>()[18 * 2 + 9 + 4] == 24);

  layer.options.crop_size = 1;
  layer.options.mean_value = {1, 2};
  layer.options.scale = 0.5;
  for (const DType dtype : {DType::F32, DType::F64})
    check_equal(
        batch_of(layer, Phase::Test, dtype)[0].cast(DType::F64),
        numbers({3, 2, 1, 1}, {1.5, 1, 6.5, 6, 11.5, 11}));  // the centre is 10 i + 4
  layer.options.mean_value = {};
  layer.options.mean_file = mean;
  Tensor image({1, 2, 3, 3});
  image.fill(2);
  write_blob(mean, image);
  check_equal(batch_of(layer, Phase::Test)[0], numbers({3, 2, 1, 1}, {1, 1, 6, 6, 11, 11}));

  layer.options.mean_file = {};
  layer.options.scale = 1;
  layer.options.batch_size = 200;
  std::set<double> places;
  const Tensor many = batch_of(layer, Phase::Train)[0];
  for (std::size_t i = 0; i < 200; ++i) places.insert(many.span<double>()[2 * i] - static_cast<double>(10 * (i % 5)));
  CHECK(places.size() == 9);

  layer.options = {.source = db, .backend = Database::LMDB, .batch_size = 5, .rand_skip = 1000};
  const Tensor later = batch_of(layer, Phase::Train)[1], same = batch_of(layer, Phase::Train)[1];
  check_equal(later, same);
  for (std::size_t i = 1; i < 5; ++i)
    CHECK(
        later.span<double>()[i] ==
        static_cast<double>((static_cast<int>(later.span<double>()[0]) + static_cast<int>(i)) % 5));
}

TEST_CASE("Data says what is wrong with its options") {
  const TempDir folder;
  const std::string db = (folder / "db").string();
  write_database(db, Database::LMDB, *counted(2));
  const auto why = [](DataOptions options) {
    options.backend = Database::LMDB;
    return refusal(DataLayer{"data", options}, {});
  };
  CHECK(why({.source = db, .batch_size = 1}) == "");
  CHECK(why({.source = db}) == "option .batch_size must be positive, not 0");
  CHECK(why({.batch_size = 1}) == "option .source is required: the database's folder");
  CHECK(why({.source = db, .batch_size = 1, .rand_skip = -1}) == "option .rand_skip must not be negative: it is -1");
  CHECK(why({.source = db, .batch_size = 1, .prefetch = -1}) == "option .prefetch must not be negative: it is -1");
  CHECK(why({.source = db, .batch_size = 1, .crop_size = -1}) == "option .crop_size must not be negative: it is -1");
  CHECK(why({.source = db, .batch_size = 1, .crop_size = 4}) == "option .crop_size is 4 and the images are 3 x 3");
  CHECK(
      why({.source = db, .batch_size = 1, .mean_file = "m", .mean_value = {1}}) ==
      "options .mean_file and .mean_value are both given; take one");
  CHECK(
      why({.source = db, .batch_size = 1, .mean_value = {1, 2, 3}}) ==
      "option .mean_value has 3 values for 2 channels; give one for each, or one for all");
  CHECK(
      why({.source = db, .batch_size = 1, .force_color = true, .force_gray = true}) ==
      "options .force_color and .force_gray are both set; take one");
  CHECK(why({.source = db + "x", .batch_size = 1}) == db + "x: there is no such folder");
  const LayerParam three =
      with(DataLayer{"data", {.source = db, .backend = Database::LMDB, .batch_size = 1}}, {.top = {"a", "b", "c"}});
  CHECK(refusal(three, {}) == "a Data layer has one top or two, not 3");
}
#endif

TEST_CASE("MemoryData gives the program's examples, or is set by the program") {
  const MemoryDataOptions options{.batch_size = 2, .channels = 2, .height = 3, .width = 3};
  const LayerParam outside = MemoryDataLayer{"data", options};
  CHECK(outside.infer({}) == std::vector<Shape>{{2, 2, 3, 3}, {2}});
  CHECK(!outside.feed(Phase::Train).has_value());
  MemoryDataLayer layer{"data", options, counted(4)};
  layer.options.scale = 2;
  const std::vector<Tensor> batch = batch_of(layer, Phase::Train);
  CHECK(batch[0].span<double>()[18 + 3] == 26);
  check_equal(batch[1], numbers({2}, {0, 1}));
  layer.options.crop_size = layer.options.height = layer.options.width = 1;
  check_equal(batch_of(layer, Phase::Test)[0], numbers({2, 2, 1, 1}, {8, 8, 28, 28}));

  layer.options.channels = 1;
  CHECK(
      refusal(layer, {}).starts_with("option .crop_size is 1, the options say [1, 1, 1] and the source's images are "));
  layer.options.crop_size = 0;
  CHECK(refusal(layer, {}) == "the options say [1, 1, 1] and the source's images are [2, 3, 3]");
  layer.options.width = 0;
  CHECK(refusal(layer, {}) == "options .channels, .height and .width must be positive, not 1, 1 and 0");
  layer.options.batch_size = 0;
  CHECK(refusal(layer, {}) == "option .batch_size must be positive, not 0");
}

#ifdef SPARKNET_WITH_PNG
TEST_CASE("ImageData reads the images of a list") {
  const TempDir folder;
  std::string list;
  for (unsigned i = 0; i < 4; ++i) {
    const std::string name = "pic " + std::to_string(i) + ".png";
    std::vector<std::uint8_t> pixels(2 * 3 * 3);
    for (std::size_t p = 0; p < pixels.size(); ++p) pixels[p] = static_cast<std::uint8_t>(40 * i + p % 3);
    std::ofstream(folder / name, std::ios::binary) << png_file(pixels, 2, 3, 3);
    list += name + " " + std::to_string(7 + i) + "\n";
  }
  const std::string source = (folder / "list").string(), root = folder.path().string() + "/";
  std::ofstream(source) << list;
  ImageDataLayer layer{"data", {.source = source, .batch_size = 3, .root_folder = root}};
  CHECK(LayerParam(layer).infer({}) == std::vector<Shape>{{3, 3, 2, 3}, {3}});
  std::vector<Tensor> batch = batch_of(layer, Phase::Train);
  check_equal(batch[1], numbers({3}, {7, 8, 9}));
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t c = 0; c < 3; ++c)
      CHECK(batch[0].span<double>()[(i * 3 + c) * 6] == static_cast<double>(40 * i + c));

  layer.options.new_height = 4;
  layer.options.new_width = 5;
  layer.options.is_color = false;
  layer.options.mean_value = {1};
  layer.options.crop_size = 3;
  layer.options.shuffle = true;
  layer.options.batch_size = 4;
  CHECK(LayerParam(layer).infer({}) == std::vector<Shape>{{4, 1, 3, 3}, {4}});
  batch = batch_of(layer, Phase::Test);
  std::set<double> labels;
  for (std::size_t i = 0; i < 4; ++i) {
    labels.insert(batch[1].span<double>()[i]);
    CHECK(
        batch[0].span<double>()[i * 9] == 40 * (batch[1].span<double>()[i] - 7));  // 0.114 * 0 + 0.587 + 0.299 * 2 = 1
  }
  CHECK(labels == std::set<double>{7, 8, 9, 10});
}

TEST_CASE("ImageData says what is wrong with its options and files") {
  const TempDir folder;
  const std::string source = (folder / "list").string(), root = folder.path().string() + "/";
  const auto write = [](const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  };
  write(root + "a.png", png_file(std::vector<std::uint8_t>(4), 2, 2, 1));
  write(root + "b.png", png_file(std::vector<std::uint8_t>(6), 2, 3, 1));
  ImageDataLayer layer{"data", {.source = source, .batch_size = 2, .root_folder = root}};
  CHECK(refusal(layer, {}).starts_with(source));
  write(source, "\n \n");
  CHECK(refusal(layer, {}) == source + ": the list has no images");
  write(source, "a.png 1\nb.png one\n");
  CHECK(refusal(layer, {}) == source + ": line 2: a path, a space and a label are wanted, and it is \"b.png one\"");
  write(source, "a.png 1\nb.png");
  CHECK(refusal(layer, {}) == source + ": line 2: a path, a space and a label are wanted, and it is \"b.png\"");
  write(source, "c.png 1\n");
  CHECK(refusal(layer, {}).starts_with(root + "c.png"));
  write(source, "list 1\n");
  CHECK(refusal(layer, {}) == source + ": is neither a PNG nor a JPEG");
  write(source, "a.png 1\nb.png 2\n");
  CHECK(refusal(layer, {}) == "");
  CHECK_THROWS_WITH_AS(
      batch_of(layer, Phase::Train),
      (root + "b.png: is [3, 2, 3] and " + root + "a.png is [3, 2, 2]; give .new_height and .new_width").c_str(),
      DataError);
  layer.options.new_width = 5;
  CHECK(refusal(layer, {}) == "options .new_height and .new_width are both given or both not; they are 0 and 5");
  layer.options.new_height = 5;
  CHECK(refusal(layer, {}) == "");
  layer.options.crop_size = 6;
  CHECK(refusal(layer, {}) == "option .crop_size is 6 and the images are 5 x 5");
  layer.options.source = "";
  CHECK(refusal(layer, {}) == "option .source is required: a file that lists images and labels");
}
#endif
