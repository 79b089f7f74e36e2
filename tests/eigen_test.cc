#include "sparknet/eigen.h"

#include <doctest/doctest.h>

#include <utility>

namespace sparknet {
namespace {

TEST_CASE("a tensor as a matrix of rows and the rest") {
  Tensor tensor = Tensor::from<float>({2, 1, 3}, {1, 2, 3, 4, 5, 6});
  auto matrix = as_matrix<float>(tensor);
  CHECK(matrix.rows() == 2);
  CHECK(matrix.cols() == 3);
  CHECK(matrix(1, 0) == 4);
  matrix(1, 2) = 60;
  CHECK(tensor.get<float>(1, 0, 2) == 60);
  CHECK(as_matrix<float>(std::as_const(tensor))(0, 1) == 2);
  CHECK(as_matrix<float>(tensor.slice(0, 1)).rows() == 1);
}

TEST_CASE("matrices of few dimensions or elements") {
  Tensor scalar(Shape{}), list({3}), none({0, 4});
  CHECK(as_matrix<float>(scalar).size() == 1);
  CHECK(as_matrix<float>(list).rows() == 3);
  CHECK(as_matrix<float>(list).cols() == 1);
  CHECK(as_matrix<float>(none).rows() == 0);
  CHECK(as_matrix<float>(none).cols() == 4);
  CHECK(as_vector<float>(none).size() == 0);
}

TEST_CASE("a tensor as a vector and as an array") {
  Tensor tensor = Tensor::from<double>({2, 2}, {1, 2, 3, 4});
  const Tensor& constant = tensor;
  CHECK(as_vector<double>(tensor).squaredNorm() == 30);
  as_array<double>(tensor) *= 2;
  CHECK(as_array<double>(constant).sum() == 20);
  CHECK(as_vector<double>(constant)(3) == 8);
}

TEST_CASE("maps are checked") {
  Tensor tensor({2, 3});
  CHECK_THROWS_WITH_AS(as_matrix<double>(tensor), "a f32 tensor cannot be viewed as f64", DTypeError);
  CHECK_THROWS_AS(as_vector<double>(tensor), DTypeError);
  CHECK_THROWS_AS(as_array<double>(std::as_const(tensor)), DTypeError);
  Tensor column = tensor.slice(1, 0);
  CHECK_THROWS_WITH_AS(
      as_vector<float>(column),
      "the tensor f32 [2] is not contiguous (strides [3]); copy() it first",
      ShapeError);
}

TEST_CASE("a tensor of an expression") {
  Tensor a = Tensor::from<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  const Tensor product = to_tensor(as_matrix<float>(a) * as_matrix<float>(a).transpose());
  CHECK(product == Tensor::from<float>({2, 2}, {14, 32, 32, 77}));
  Eigen::MatrixXd columns(2, 2);
  columns << 1, 2, 3, 4;
  CHECK(to_tensor(columns) == Tensor::from<double>({2, 2}, {1, 2, 3, 4}));
  CHECK(to_tensor(as_array<float>(a) + 1.0f) == Tensor::from<float>({6}, {2, 3, 4, 5, 6, 7}));
  CHECK(to_tensor(as_matrix<float>(a).colwise().sum()) == Tensor::from<float>({3}, {5, 7, 9}));
  CHECK(to_tensor(as_matrix<float>(a).row(1)) == Tensor::from<float>({3}, {4, 5, 6}));
}

}  // namespace
}  // namespace sparknet
