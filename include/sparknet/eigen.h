#pragma once

#include <Eigen/Core>
#include <type_traits>

#include "sparknet/tensor.h"

namespace sparknet {

/// Row-major, as tensors are.
template <class T>
using EigenMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using EigenVector = Eigen::Matrix<T, Eigen::Dynamic, 1>;
template <class T>
using EigenArray = Eigen::Array<T, Eigen::Dynamic, 1>;

/// The memory of a contiguous tensor of shape [rows, ...] as a matrix of [rows, all the rest]; of a scalar as [1, 1].
/// Owns nothing, as TensorView. Throws DTypeError if T is not the element type, ShapeError if the tensor is strided.
template <Element T>
Eigen::Map<EigenMatrix<T>> as_matrix(Tensor& tensor) {
  return {tensor.span<T>().data(), tensor.shape().count(0, 1), tensor.shape().count(1)};
}
template <Element T>
Eigen::Map<const EigenMatrix<T>> as_matrix(const Tensor& tensor) {
  return {tensor.span<T>().data(), tensor.shape().count(0, 1), tensor.shape().count(1)};
}

/// The elements of a contiguous tensor of any shape as a column vector. Throws as `as_matrix`.
template <Element T>
Eigen::Map<EigenVector<T>> as_vector(Tensor& tensor) {
  return {tensor.span<T>().data(), tensor.count()};
}
template <Element T>
Eigen::Map<const EigenVector<T>> as_vector(const Tensor& tensor) {
  return {tensor.span<T>().data(), tensor.count()};
}

/// The elements of a contiguous tensor of any shape for arithmetic element by element. Throws as `as_matrix`.
template <Element T>
Eigen::Map<EigenArray<T>> as_array(Tensor& tensor) {
  return {tensor.span<T>().data(), tensor.count()};
}
template <Element T>
Eigen::Map<const EigenArray<T>> as_array(const Tensor& tensor) {
  return {tensor.span<T>().data(), tensor.count()};
}

/// A new tensor with the values of a matrix or an expression: shape [rows, cols], or [size] for a vector.
template <class Derived>
Tensor to_tensor(const Eigen::DenseBase<Derived>& expression) {
  using T = typename Derived::Scalar;
  if constexpr (Derived::IsVectorAtCompileTime) {
    Tensor tensor(Shape{expression.size()}, dtype_of<T>);
    if constexpr (Derived::RowsAtCompileTime == 1)
      as_matrix<T>(tensor) = expression.derived().matrix().transpose();
    else
      as_matrix<T>(tensor) = expression.derived().matrix();
    return tensor;
  } else {
    Tensor tensor({expression.rows(), expression.cols()}, dtype_of<T>);
    as_matrix<T>(tensor) = expression.derived().matrix();
    return tensor;
  }
}

}  // namespace sparknet
