#include "sparknet/caffe/blob.h"

#include <fmt/format.h>

#include <algorithm>
#include <climits>
#include <span>

#include "src/caffe/blob_proto.h"
#include "src/io/bytes.h"

namespace sparknet::caffe {
namespace {

bool is_old(const proto::BlobProto& blob) {
  return blob.has_num() || blob.has_channels() || blob.has_height() || blob.has_width();
}

}  // namespace

Tensor blob_tensor(
    const std::shared_ptr<void>& owner, proto::BlobProto& blob, const std::string& file, const std::string& what) {
  const auto refuse = [&](const std::string& why) { throw DataError(file, -1, what + " " + why); };
  Shape shape;
  if (is_old(blob)) {
    shape = {blob.num(), blob.channels(), blob.height(), blob.width()};
  } else {
    const auto& dims = blob.shape().dim();
    if (static_cast<std::size_t>(dims.size()) > Shape::max_rank)
      refuse(fmt::format("has {} dimensions, and a tensor has at most {}", dims.size(), Shape::max_rank));
    for (const Dim dim : dims) shape.push_back(dim);
  }
  if (!detail::is_possible(shape)) refuse(fmt::format("has the impossible shape {}", to_string(shape)));
  const Dim count = shape.count();
  const bool doubles = blob.double_data_size() > 0;
  if (const Dim found = doubles ? blob.double_data_size() : blob.data_size(); found != count)
    refuse(fmt::format("has shape {}, which is {} numbers, and {} are there", to_string(shape), count, found));
  const DType dtype = doubles ? DType::F64 : DType::F32;
  if (count == 0) return Tensor(shape, dtype);
  void* numbers = doubles ? static_cast<void*>(blob.mutable_double_data()->mutable_data())
                          : static_cast<void*>(blob.mutable_data()->mutable_data());
  return Tensor::share(owner, numbers, shape, dtype);
}

bool same_blob_shape(const Shape& found, const Shape& wanted) {
  if (found == wanted) return true;
  if (found.size() != 4 || wanted.size() > 4) return false;
  const std::size_t ones = 4 - wanted.size();
  return std::all_of(found.begin(), found.begin() + ones, [](Dim dim) { return dim == 1; }) &&
         std::equal(found.begin() + ones, found.end(), wanted.begin());
}

void fill_blob(const Tensor& values, proto::BlobProto& blob) {
  for (const Dim dim : values.shape()) blob.mutable_shape()->add_dim(dim);
  if (values.shape().empty()) blob.mutable_shape();
  if (values.dtype() == DType::F64) {
    const Tensor dense = values.flatten();
    const std::span<const double> numbers = dense.span<const double>();
    blob.mutable_double_data()->Add(numbers.begin(), numbers.end());
  } else {
    const Tensor dense = values.dtype() == DType::F32 ? values.flatten() : values.cast(DType::F32).flatten();
    const std::span<const float> numbers = dense.span<const float>();
    blob.mutable_data()->Add(numbers.begin(), numbers.end());
  }
}

Tensor read_blob(const std::filesystem::path& file) {
  const auto blob = std::make_shared<proto::BlobProto>();
  read_message(file, *blob);
  return blob_tensor(blob, *blob, file.string(), "the blob");
}

void write_blob(const std::filesystem::path& file, const Tensor& values) {
  proto::BlobProto blob;
  fill_blob(values, blob);
  const Shape& shape = values.shape();
  if (shape.size() == 4 && std::all_of(shape.begin(), shape.end(), [](Dim dim) { return dim <= INT_MAX; })) {
    blob.clear_shape();
    blob.set_num(static_cast<int>(shape[0]));
    blob.set_channels(static_cast<int>(shape[1]));
    blob.set_height(static_cast<int>(shape[2]));
    blob.set_width(static_cast<int>(shape[3]));
  }
  write_message(file, blob);
}

}  // namespace sparknet::caffe
