#include "src/layers/folding.h"

#include <algorithm>

#include "src/to_host.h"

namespace sparknet {

void read_numbers(const Tensor& from, std::span<double> to) {
  std::ranges::copy(from.cast(DType::F64).span<double>(), to.begin());
}

Folding::Result Folding::fold(const LayerIO& io, bool has_bias, Dim num_output, OutputPlaces places) const {
  const auto count = static_cast<std::size_t>(num_output);
  Tensor shifted(Shape{num_output}, DType::F64);
  const std::span<double> shift = shifted.span<double>();
  if (has_bias) read_numbers(to_host(io.backend(), io.param(1)), shift);
  std::vector<double> scale(count, 1), by(count), plus(count);
  std::size_t param = has_bias ? 2 : 1;
  for (const FusedAffine& affine : affines_) {
    std::vector<Tensor> params;
    for (std::size_t i = 0; i < affine.params; ++i) params.push_back(to_host(io.backend(), io.param(param++)));
    affine.read(params, by, plus);
    for (std::size_t o = 0; o < count; ++o) {
      scale[o] *= by[o];
      shift[o] = shift[o] * by[o] + plus[o];
    }
  }

  Tensor scaled = to_host(io.backend(), io.param(0)).cast(DType::F64);
  if (io.param(0).dtype() == DType::F64) scaled = scaled.copy();
  double* w = scaled.span<double>().data();
  const Dim outputs = num_output / places.groups;
  for (Dim group = 0; group < places.groups; ++group)
    for (Dim row = 0; row < places.rows; ++row)
      for (Dim o = 0; o < outputs; ++o)
        for (Dim i = 0; i < places.inner; ++i) *w++ *= scale[static_cast<std::size_t>(group * outputs + o)];
  return {scaled.cast(io.param(0).dtype()), shifted.cast(io.param(0).dtype())};
}

}  // namespace sparknet
