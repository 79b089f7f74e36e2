#pragma once

#include <memory>
#include <string>

#include "sparknet/tensor.h"
#include "src/caffe/proto.h"

namespace sparknet::caffe {

/// The blob's numbers where they lie, in a message that `owner` keeps alive. `what` names the blob in the DataError
/// about a shape that makes no sense or does not go with the numbers.
Tensor blob_tensor(
    const std::shared_ptr<void>& owner, proto::BlobProto& blob, const std::string& file, const std::string& what);

/// Whether Caffe takes a blob of shape `found` for one of shape `wanted`: old files have four dimensions, of which the
/// first ones may be 1 for nothing.
bool same_blob_shape(const Shape& found, const Shape& wanted);

/// Fills an empty message; elements other than f64 become f32.
void fill_blob(const Tensor& values, proto::BlobProto& blob);

}  // namespace sparknet::caffe
