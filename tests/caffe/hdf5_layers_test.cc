#include "sparknet/caffe/hdf5_data.h"
#include "sparknet/caffe/hdf5_output.h"
#include "src/caffe/hdf5_file.h"
#include "tests/layers/layer_test.h"
#include "tests/temp_dir.h"

#ifdef SPARKNET_WITH_HDF5

#include <fstream>
#include <set>

using namespace sparknet;
using namespace sparknet::caffe;
using namespace sparknet::test;

namespace {

std::filesystem::path rows_file(const TempDir& folder, const std::string& name, Dim first, Dim rows) {
  Tensor data({rows, 2}), label({rows});
  for (Dim i = 0; i < rows; ++i) {
    const auto at = static_cast<std::size_t>(i);
    data.span<float>()[2 * at] = static_cast<float>(first + i);
    data.span<float>()[2 * at + 1] = static_cast<float>(first + i) + 0.5f;
    label.span<float>()[at] = static_cast<float>(100 + first + i);
  }
  Hdf5Writer file(folder / name);
  file.write("data", data);
  file.write("label", label);
  file.commit();
  return folder / name;
}

std::string list_file(const TempDir& folder, const std::string& text) {
  std::ofstream(folder / "list.txt") << text;
  return (folder / "list.txt").string();
}

}  // namespace

TEST_CASE("HDF5Data gives the rows of its files, one file after the other") {
  check_description<HDF5DataLayer>();
  const TempDir folder;
  std::string list;
  for (int f = 0; f < 4; ++f)
    list += rows_file(folder, "rows" + std::to_string(f), f * 3, 3).string() + (f % 2 ? "\r\n" : "\n\n");
  HDF5DataLayer layer{"in", {.source = list_file(folder, list), .batch_size = 5}};
  CHECK(LayerParam(layer).tops() == std::vector<std::string>{"data", "label"});
  CHECK(LayerParam(layer).infer({}) == std::vector<Shape>{{5, 2}, {5}});
  const LayerFeed feed = layer.feed(Phase::Train);
  REQUIRE(feed.source->size() == 12);
  Feed reads(feed.source, {{"data", {5, 2}}, {"label", {5}}}, feed.options);
  std::vector<Tensor> out = {Tensor({5, 2}), Tensor({5})};
  for (int batch = 0; batch < 5; ++batch) {
    reads.next(out);
    for (int i = 0; i < 5; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const float row = static_cast<float>((batch * 5 + i) % 12);
      CHECK(out[0].span<float>()[2 * at + 1] == row + 0.5f);
      CHECK(out[1].span<float>()[at] == 100 + row);
    }
  }

  layer.options.shuffle = true;
  layer.datasets = {"label"};
  const LayerFeed shuffled = layer.feed(Phase::Train);
  Feed one_epoch(shuffled.source, {{"label", {12}}}, shuffled.options);
  std::vector<Tensor> all = {Tensor({12})};
  one_epoch.next(all);
  const auto labels = all[0].span<float>();
  CHECK(std::set<float>(labels.begin(), labels.end()).size() == 12);
  CHECK(!std::is_sorted(labels.begin(), labels.end()));
}

TEST_CASE("HDF5Data says what is wrong with its options and files") {
  const TempDir folder;
  HDF5DataLayer layer{"in"};
  CHECK(refusal(layer, {}) == "option .batch_size must be positive, not 0");
  layer.options.batch_size = 2;
  CHECK(refusal(layer, {}) == "option .source is required: a file that lists .h5 files");
  layer.options.source = (folder / "none").string();
  CHECK(refusal(layer, {}).starts_with(layer.options.source));
  layer.options.source = list_file(folder, " \n");
  CHECK(refusal(layer, {}) == layer.options.source + ": the list has no files");

  const std::string good = rows_file(folder, "good", 0, 3).string(), other = (folder / "other").string();
  list_file(folder, good + "\n" + other + "\n");
  CHECK(refusal(layer, {}) == other + ": there is no such file");
  {
    Hdf5Writer file(other);
    file.write("data", Tensor({3, 4}));
    file.write("label", Tensor({2}));
    file.commit();
  }
  CHECK(refusal(layer, {}) == other + ": \"data\": has rows [4], and those of " + good + " are [2]");
  list_file(folder, other);
  CHECK(refusal(layer, {}) == other + ": \"label\": has 2 rows and \"data\" has 3");
  layer.datasets = {"data", "lable"};
  CHECK(refusal(layer, {}) == other + ": \"lable\": there is no such array");
  layer.datasets = {};
  CHECK(refusal(layer, {}) == "no dataset is named, and at least one is wanted");
}

TEST_CASE("HDF5Output adds each batch to its file, which appears when the layer goes") {
  check_description<HDF5OutputLayer>();
  const TempDir folder;
  const HDF5OutputOptions options{.file_name = (folder / "out.h5").string()};
  for (const DType dtype : {DType::F32, DType::F64}) {
    {
      SoloLayer solo(HDF5OutputLayer{"out", {"x", "y"}, options}, {{2, 3}, {2}}, {.dtype = dtype});
      CHECK(solo.io().tops.empty());
      for (const double base : {0.0, 10.0}) {
        solo.io().bottoms[0].copy_from(numbers({2, 3}, {base, 1, 2, 3, 4, 5}).cast(dtype));
        solo.io().bottoms[1].copy_from(numbers({2}, {base, 7}).cast(dtype));
        solo.forward();
      }
    }
    const Hdf5Reader file(options.file_name);
    CHECK(file.info("data").dtype == dtype);
    check_equal(file.read("data", DType::F64), numbers({4, 3}, {0, 1, 2, 3, 4, 5, 10, 1, 2, 3, 4, 5}));
    check_equal(file.read("label", DType::F64), numbers({4}, {0, 7, 10, 7}));
  }
  { const SoloLayer solo = ran(HDF5OutputLayer{"out", {"x"}, options}, {numbers({1, 2}, {3, 4})}); }
  const Hdf5Reader file(options.file_name);
  CHECK(file.names("/") == std::vector<std::string>{"x"});

  CHECK(refusal(HDF5OutputLayer{"out", {"x"}, {}}, {{2}}) == "option .file_name is required");
  CHECK(refusal(HDF5OutputLayer{"out", {"x"}, options}, {{}}) == "a bottom is a single number, and rows are wanted");
}

#endif
