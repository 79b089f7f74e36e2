#include "sparknet/caffe/blob.h"

#include <doctest/doctest.h>

#include "src/caffe/blob_proto.h"
#include "tests/temp_dir.h"
#include "tests/tensor_values.h"

using namespace sparknet;
using namespace sparknet::caffe;
using sparknet::testing::counting;

namespace {

std::string trouble(const std::filesystem::path& file) {
  try {
    read_blob(file);
  } catch (const DataError& error) {
    return std::string(error.what()).substr(file.string().size());
  }
  return "none";
}

}  // namespace

TEST_CASE("a blob in a file of its own") {
  const TempDir dir;
  for (const Tensor& blob :
       {counting({2, 3}),
        counting({1, 3, 2, 2}),
        counting({2, 3}, DType::F64),
        counting({1, 3, 2, 2}, DType::F64),
        counting({}),
        counting({0, 4}),
        counting({1, 2, 1, 2, 1, 2})}) {
    write_blob(dir / "x", blob);
    CHECK(read_blob(dir / "x") == blob);
  }
  write_blob(dir / "x", counting({4}, DType::U8));
  CHECK(read_blob(dir / "x") == counting({4}));
  write_blob(dir / "x", counting({4, 4}).subarray({1, 1}, {3, 3}));
  CHECK(read_blob(dir / "x") == Tensor::from({2, 2}, {5.F, 6.F, 9.F, 10.F}));
  // Four dimensions are written as every Caffe reads them.
  proto::BlobProto old;
  write_blob(dir / "x", counting({1, 3, 2, 2}));
  read_message(dir / "x", old);
  CHECK(!old.has_shape());
  CHECK((old.num() == 1 && old.channels() == 3 && old.height() == 2 && old.width() == 2));
}

TEST_CASE("a blob whose numbers do not go with its shape") {
  const TempDir dir;
  proto::BlobProto blob;
  blob.mutable_shape()->add_dim(2);
  blob.add_data(1);
  write_message(dir / "x", blob);
  CHECK(trouble(dir / "x") == ": the blob has shape [2], which is 2 numbers, and 1 are there");
  blob.mutable_shape()->set_dim(0, -1);
  write_message(dir / "x", blob);
  CHECK(trouble(dir / "x") == ": the blob has the impossible shape [-1]");
  blob.mutable_shape()->set_dim(0, std::int64_t{1} << 62);
  blob.mutable_shape()->add_dim(8);
  write_message(dir / "x", blob);
  CHECK(trouble(dir / "x") == ": the blob has the impossible shape [4611686018427387904, 8]");
  blob.mutable_shape()->set_dim(1, 0);  // no number, and too many for the strides
  blob.mutable_shape()->add_dim(16);
  blob.clear_data();
  write_message(dir / "x", blob);
  CHECK(trouble(dir / "x") == ": the blob has the impossible shape [4611686018427387904, 0, 16]");
  for (int i = 0; i < 10; ++i) blob.mutable_shape()->add_dim(1);
  write_message(dir / "x", blob);
  CHECK(trouble(dir / "x") == ": the blob has 13 dimensions, and a tensor has at most 12");
  CHECK(trouble(dir / "y") == ": there is no such file");
}

TEST_CASE("shapes of old blobs") {
  CHECK(same_blob_shape({1, 1, 500, 800}, {500, 800}));
  CHECK(same_blob_shape({1, 1, 1, 500}, {500}));
  CHECK(same_blob_shape({20, 1, 5, 5}, {20, 1, 5, 5}));
  CHECK(same_blob_shape({1, 1, 1, 1}, {}));
  CHECK(!same_blob_shape({1, 2, 500, 800}, {500, 800}));
  CHECK(!same_blob_shape({500, 800, 1, 1}, {500, 800}));
  CHECK(!same_blob_shape({1, 500}, {500}));
  CHECK(!same_blob_shape({1, 1, 1, 500}, {1, 1, 1, 1, 500}));
}
