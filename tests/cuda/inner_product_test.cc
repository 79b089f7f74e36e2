#include <cstdint>
#include <initializer_list>

#include "kernels/cuda/backend.h"
#include "tests/cuda/emulation_test.h"

using namespace sparknet;
using namespace sparknet::emulation;
using namespace sparknet::kernels;

namespace {

using Values = std::vector<float>;

template <class T>
struct Arrays {
  Arrays(const InnerProductShape& s, bool whole_numbers)
      : shape(s),
        x(numbers(s.batch * s.inputs, 1, whole_numbers)),
        weights(numbers(s.num_output * s.inputs, 2, whole_numbers)),
        bias(numbers(s.num_output, 3, whole_numbers)) {}

  static std::vector<T> numbers(Index count, unsigned seed, bool whole) {
    std::vector<T> values = random_numbers<T>(static_cast<std::size_t>(count), seed);
    for (T& value : values) value = whole ? std::round(8 * value) : value;
    return values;
  }

  std::vector<double> expected(bool has_bias, Activation activation) const {
    std::vector<double> y;
    for (Index n = 0; n < shape.batch; ++n) {
      for (Index o = 0; o < shape.num_output; ++o) {
        double sum = has_bias ? double{bias[static_cast<std::size_t>(o)]} : 0;
        for (Index i = 0; i < shape.inputs; ++i) {
          const Index weight = shape.transposed ? i * shape.num_output + o : o * shape.inputs + i;
          sum += double{x[static_cast<std::size_t>(n * shape.inputs + i)]} *
                 double{weights[static_cast<std::size_t>(weight)]};
        }
        y.push_back(activation.relu && sum < 0 ? activation.negative_slope * sum : sum);
      }
    }
    return y;
  }

  InnerProductShape shape;
  std::vector<T> x, weights, bias;
};

/// Checks the forward pass, and returns how many pieces of work it is.
template <class T>
std::uint64_t pieces_of_forward(
    const InnerProductShape& shape, bool has_bias, Activation activation, bool tf32 = false, Index offset = 0) {
  cuda::CudaBackend backend({.tf32 = tf32});
  const auto plan = backend.inner_product(sizeof(T) == 8 ? DType::F64 : DType::F32, shape, activation);
  Arrays<T> arrays(shape, tf32);  // which TF32 does not round
  const std::vector<double> expected = arrays.expected(has_bias, activation);
  std::vector<T> shifted = arrays.x;
  shifted.insert(shifted.begin(), static_cast<std::size_t>(offset), T(NAN));
  const DeviceArray<T> x(shifted), weights(arrays.weights), bias(arrays.bias), y(expected.size());
  REQUIRE(cudaDeviceSynchronize() == kSuccess);
  const std::uint64_t before = pieces_of_work();
  plan->forward(x.get() + offset, weights.get(), has_bias ? bias.get() : nullptr, y.get(), nullptr);
  const std::uint64_t pieces = pieces_of_work() - before;
  check_close(y.read(), expected);
  return pieces;
}

constexpr Activation kNone{}, kRelu{true, 0}, kLeaky{true, 0.25};

}  // namespace

TEST_CASE("an inner product with its bias and ReLU is one piece of work") {
  for (const InnerProductShape& shape :
       {InnerProductShape{5, 9, 7}, InnerProductShape{5, 9, 7, true}, InnerProductShape{4, 6, 1}}) {
    for (const bool tf32 : {false, true}) {
      for (const Activation& activation : {kNone, kRelu}) {
        for (const bool has_bias : {false, true})
          CHECK(pieces_of_forward<float>(shape, has_bias, activation, tf32) == 1);
      }
    }
  }
  CHECK(pieces_of_forward<float>({5, 9, 7}, true, kRelu, false, 16) == 1);  // as far as arrays of nets are aligned
}

TEST_CASE("where cuBLASLt does not do it, a kernel follows the product") {
  const InnerProductShape shape{5, 9, 7};
  CHECK(pieces_of_forward<double>(shape, true, kRelu) == 2);
  CHECK(pieces_of_forward<float>(shape, true, kLeaky) == 2);
  CHECK(pieces_of_forward<float>(shape, false, kLeaky) == 2);
  CHECK(pieces_of_forward<float>({5, 1201, 7}, true, kRelu) == 2);  // it says no
  CHECK(pieces_of_forward<float>({1, 9, 7}, true, kRelu) == 2);     // it finds nothing
  CHECK(pieces_of_forward<float>({5, 0, 7}, true, kRelu) == 2);
  CHECK(pieces_of_forward<float>(shape, true, kRelu, false, 1) == 2);  // an array that no net has
}

TEST_CASE("TF32 is let in where it is asked for") {
  for (const bool tf32 : {false, true}) {
    cuda::CudaBackend backend({.tf32 = tf32});
    const auto plan = backend.inner_product(DType::F32, {2, 1, 1}, kRelu);
    const DeviceArray<float> x(Values{1.0001f, -1}), weights(Values{1}), bias(Values{0.5f}), y(2);
    plan->forward(x.get(), weights.get(), bias.get(), y.get(), nullptr);
    CHECK(y.read() == Values{tf32 ? 1.5f : 1.5001f, 0});
  }
}

TEST_CASE("an inner product is recorded and repeated") {
  cuda::CudaBackend backend({});
  const auto plan = backend.inner_product(DType::F32, {2, 1, 1}, kRelu);
  const DeviceArray<float> x(2), weights(Values{3}), bias(Values{1}), y(2);
  for (int step = 0; step < 6; ++step) {
    const auto value = static_cast<float>(step);
    const float now[] = {value, -value};
    backend.write(x.get(), now, sizeof now);
    const std::uint64_t before = pieces_of_work();
    backend.begin_step();
    plan->forward(x.get(), weights.get(), bias.get(), y.get(), nullptr);
    backend.end_step();
    CHECK(pieces_of_work() - before == 1);
    CHECK(y.read() == Values{3 * value + 1, step == 0 ? 1.0f : 0.0f});
  }
}
