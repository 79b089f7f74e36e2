#include "src/caffe/hdf5_file.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/temp_dir.h"

using namespace sparknet;
using namespace sparknet::caffe;

#ifdef SPARKNET_WITH_HDF5

#include <hdf5.h>

namespace {

std::string read_all(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

template <class F>
std::string trouble(F&& f) {
  try {
    f();
  } catch (const DataError& error) {
    return error.what();
  }
  return "none";
}

std::size_t open_objects() {
  return static_cast<std::size_t>(H5Fget_obj_count(static_cast<hid_t>(H5F_OBJ_ALL), H5F_OBJ_ALL));
}

}  // namespace

TEST_CASE("HDF5: what is written is read") {
  const TempDir dir;
  const std::size_t before = open_objects();
  const Tensor floats = Tensor::from({2, 3}, {1.F, 2.F, 3.F, 4.F, 5.F, 6.F});
  {
    Hdf5Writer out(dir / "x.h5");
    out.write("data/ip/0", floats);
    out.write("data/ip/1", Tensor::from({}, {7.5}));
    out.write("data/a/b/0", Tensor::from({2}, {std::uint8_t{3}, std::uint8_t{255}}));
    out.write("none", Tensor(Shape{0, 4}));
    out.write("columns", floats.subarray({0, 1}, {2, 3}));
    out.write_int("iter", -5);
    out.write_text("text", "a text");
    out.write_text("empty", "");
    out.group("history");
    CHECK(!std::filesystem::exists(dir / "x.h5"));
    out.commit();
  }
  const std::string content = read_all(dir / "x.h5");
  for (const Hdf5Reader& in :
       {Hdf5Reader(dir / "x.h5"), Hdf5Reader((dir / "x.h5").string(), std::as_bytes(std::span(content)))}) {
    CHECK(in.read("data/ip/0") == floats);
    CHECK(in.read("data/ip/0", DType::F64) == floats.cast(DType::F64));
    CHECK(in.read("data/ip/1") == Tensor::from({}, {7.5}));
    CHECK(in.read("data/a/b/0") == Tensor::from({2}, {std::uint8_t{3}, std::uint8_t{255}}));
    CHECK(in.read("none").shape() == Shape{0, 4});
    CHECK(in.read("columns") == Tensor::from({2, 2}, {2.F, 3.F, 5.F, 6.F}));
    CHECK(in.read_int("iter") == -5);
    CHECK(in.read_text("text") == "a text");
    CHECK(in.read_text("empty").empty());
    CHECK(in.names("data") == std::vector<std::string>{"a", "ip"});
    CHECK(in.names("/").size() == 7);
    CHECK(in.names("history").empty());
    CHECK(in.kind("data/a") == Hdf5Reader::Kind::Group);
    CHECK(in.kind("data/a/b/0") == Hdf5Reader::Kind::Dataset);
    CHECK(in.kind("data/c/b/0") == Hdf5Reader::Kind::None);
    CHECK(in.info("iter").dtype == DType::I32);

    const std::string name = in.name();
    CHECK(trouble([&] { in.read("data/ip/2"); }) == name + ": \"data/ip/2\": there is no such array");
    CHECK(trouble([&] { in.read("data"); }) == name + ": \"data\": there is no such array");
    CHECK(trouble([&] { in.read("text"); }) == name + ": \"text\": holds something else than numbers");
    CHECK(trouble([&] { in.read_text("iter"); }) == name + ": \"iter\": is no text");
    CHECK(trouble([&] { in.read_int("columns"); }) == name + ": \"columns\": is no single number but an array [2, 2]");
    CHECK(trouble([&] { in.names("text"); }) == name + ": \"text\": there is no such group");
  }
  CHECK(open_objects() == before);
}

TEST_CASE("HDF5: arrays that grow") {
  const TempDir dir;
  {
    Hdf5Writer out(dir / "x.h5");
    out.append("data", Tensor::from({2, 2}, {1.F, 2.F, 3.F, 4.F}));
    out.append("data", Tensor::from({1, 2}, {5.F, 6.F}));
    out.append("data", Tensor(Shape{0, 2}));
    CHECK(trouble([&] {
            out.append("data", Tensor(Shape{1, 3}));
          }) == (dir / "x.h5").string() + ": \"data\": rows of another shape were written before: now they are [1, 3]");
    CHECK(trouble([&] {
            out.append("x", Tensor(Shape{}));
          }) == (dir / "x.h5").string() + ": \"x\": a single number is no row");
    out.commit();
  }
  CHECK(Hdf5Reader(dir / "x.h5").read("data") == Tensor::from({3, 2}, {1.F, 2.F, 3.F, 4.F, 5.F, 6.F}));
}

TEST_CASE("HDF5: a file is whole or not there") {
  const TempDir dir;
  { Hdf5Writer out(dir / "x.h5"); }
  CHECK(std::filesystem::is_empty(dir.path()));
  CHECK(trouble([&] {
          Hdf5Writer out(dir.path() / "no" / "x.h5");
        }).starts_with((dir.path() / "no" / "x.h5").string() + ": cannot be created: "));
}

TEST_CASE("HDF5: what is no file of HDF5's") {
  const TempDir dir;
  CHECK(trouble([&] { Hdf5Reader in(dir / "x.h5"); }) == (dir / "x.h5").string() + ": there is no such file");
  CHECK(
      trouble([&] { Hdf5Reader in(dir.path()); }) == dir.path().string() + ": this is a folder, and a file is wanted");
  std::ofstream(dir / "x.h5") << "a text";
  CHECK(trouble([&] {
          Hdf5Reader in(dir / "x.h5");
        }) == (dir / "x.h5").string() + ": is no file that HDF5 can read: file signature not found");
  // Cut off anywhere it is refused, or what is missing is.
  {
    Hdf5Writer out(dir / "y.h5");
    out.write("data/ip/0", Tensor(Shape{100}));
    out.commit();
  }
  const std::string whole = read_all(dir / "y.h5");
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    CAPTURE(size);
    CHECK(trouble([&] {
            Hdf5Reader("y", std::as_bytes(std::span(whole).first(size))).read("data/ip/0");
          }).starts_with("y: "));
  }
}

TEST_CASE("HDF5: an array that only says it is large is refused") {
  const TempDir dir;
  const std::string name = (dir / "x.h5").string();
  const hid_t file = H5Fcreate(name.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hsize_t dims[] = {hsize_t{1} << 30, 1 << 10}, chunk[] = {1, 1};
  const hid_t layout = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(2, dims, nullptr);
  H5Pset_chunk(layout, 2, chunk);
  H5Dclose(H5Dcreate2(file, "x", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, layout, H5P_DEFAULT));
  H5Sclose(space), H5Pclose(layout), H5Fclose(file);
  CHECK(trouble([&] {
          Hdf5Reader(dir / "x.h5").read("x");
        }) == name + ": \"x\": is said to hold 1099511627776 numbers, and 0 bytes are stored");
}

#else

TEST_CASE("without HDF5 its files are refused") {
  CHECK_THROWS_WITH_AS(
      Hdf5Reader("x.h5"),
      "x.h5: is a matter of HDF5, and this library was built without it (Debian: apt-get install libhdf5-dev, then "
      "build again)",
      DataError);
}

#endif
