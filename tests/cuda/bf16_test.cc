#include "tests/cuda/bf16.h"

#include <limits>

// What is done in BF16, op by op.

namespace sparknet::kernels {
namespace {

TEST_CASE("bf16: numbers are rounded to the nearest, and halves to the even") {
  const auto backend = test::make_gpu_backend();
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> given =
      {0, -0.0F, 1, 1 + 1 / 256.0F, 1 + 3 / 256.0F, 1.005F, -3.14159F, 3e38F, 3.4e38F, 1e-40F, inf, -inf};
  Array<float> x(given.size() + 1), back(x.size());
  std::copy(given.begin(), given.end(), x.data());
  x[given.size()] = nan;
  Array<Half> y(x.size());
  backend->convert(DType::F32, DType::BF16, static_cast<Index>(x.size()), x.data(), y.data());
  for (std::size_t i = 0; i < given.size(); ++i) CHECK(static_cast<double>(y[i]) == static_cast<double>(Half(x[i])));
  CHECK(static_cast<double>(y[3]) == 1);
  CHECK(static_cast<double>(y[4]) == 1 + 1 / 64.0);
  CHECK(std::isnan(static_cast<double>(y[given.size()])));
  backend->convert(DType::BF16, DType::F32, static_cast<Index>(x.size()), y.data(), back.data());
  for (std::size_t i = 0; i < given.size(); ++i) CHECK(static_cast<double>(back[i]) == static_cast<double>(y[i]));
  CHECK(std::isnan(back[given.size()]));
}

}  // namespace
}  // namespace sparknet::kernels
