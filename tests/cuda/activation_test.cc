#include "kernels/cuda/activation.h"

#include "tests/cuda/bf16.h"
#include "tests/cuda/emulation_test.h"

// What follows the sums of convolutions and inner products, in BF16 beside F64.

using namespace sparknet;
using namespace sparknet::emulation;
using namespace sparknet::kernels;

namespace {

template <class T, class From>
std::vector<T> in_type(const std::vector<From>& from) {
  std::vector<T> to;
  for (const From& value : from) to.push_back(static_cast<T>(static_cast<double>(value)));
  return to;
}

struct Case {
  ChannelShape shape;
  Activation activation;
  bool has_bias, accumulate;
};

struct Written {
  std::vector<double> y, dy, dbias;
};

template <class T>
Written written(const Case& c) {
  using P = Beside<T>;
  const auto n = static_cast<std::size_t>(c.shape.outer * c.shape.channels * c.shape.inner);
  const auto channels = static_cast<std::size_t>(c.shape.channels);
  std::vector<Half> sums = random_numbers<Half>(n, 1);
  const double specials[] = {NAN, -INFINITY, 0, INFINITY};
  for (std::size_t i = 0; i < 4 && i < n; ++i) sums[i] = Half(specials[i]);
  const DeviceArray<T> y(in_type<T>(sums)), dy(in_type<T>(random_numbers<Half>(n, 2)));
  // As y of BF16 and of F64 differ, another one says where the gradient goes through.
  const DeviceArray<T> gate(in_type<T>(random_numbers<Half>(n, 3)));
  const DeviceArray<P> bias(in_type<P>(random_numbers<float>(channels, 4)));
  const DeviceArray<P> dbias(in_type<P>(random_numbers<float>(channels, 5)));
  cuda::Context context({});
  const cuda::Epilogue epilogue(context, dtype_of<T>, c.shape, c.activation);
  epilogue.forward(c.has_bias ? bias.get() : nullptr, y.get());
  epilogue.backward(gate.get(), dy.get(), c.has_bias ? dbias.get() : nullptr, c.accumulate);
  return {in_type<double>(y.read()), in_type<double>(dy.read()), in_type<double>(dbias.read())};
}

}  // namespace

TEST_CASE("bias and activation in BF16 are rounded once, and the gradient of the bias is of F32") {
  for (const ChannelShape& shape :
       {ChannelShape{1, 7, 1}, ChannelShape{40, 33, 1}, ChannelShape{40, 4, 9}, ChannelShape{3, 5, 67}}) {
    for (const Activation& activation : {Activation{}, Activation{true, 0}, Activation{true, 0.1}}) {
      for (const bool has_bias : {false, true}) {
        for (const bool accumulate : {false, true}) {
          const Case c{shape, activation, has_bias, accumulate};
          const Written got = written<Half>(c), expected = written<double>(c);
          CHECK(roundings(got.y, expected.y) <= 1);
          CHECK(roundings(got.dy, expected.dy) <= 1);
          check_close(in_type<float>(got.dbias), expected.dbias);
        }
      }
    }
  }
}
