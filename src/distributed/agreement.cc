#include "src/distributed/agreement.h"

#include <fmt/format.h>

#include "sparknet/error.h"

namespace sparknet::detail {

void check_dense(const Tensor& values) {
  if (!values.is_contiguous()) throw ShapeError("a communicator takes dense tensors; copy() this one first");
}

void check_summable(DType dtype) {
  if (dtype != DType::F32 && dtype != DType::F64)
    throw DTypeError(fmt::format("a communicator sums f32 and f64, not {}", to_string(dtype)));
}

void check_root(int root, int size) {
  if (root < 0 || root >= size) throw Error(fmt::format("a group of {} has no member {}", size, root));
}

std::string find_mismatch(
    int rank, DType dtype, const Shape& shape, int model, DType wanted_dtype, const Shape& wanted_shape) {
  if (dtype == wanted_dtype && shape == wanted_shape) return {};
  return fmt::format(
      "worker {} brings a tensor {} {} and worker {} one {} {}",
      rank,
      to_string(dtype),
      to_string(shape),
      model,
      to_string(wanted_dtype),
      to_string(wanted_shape));
}

}  // namespace sparknet::detail
