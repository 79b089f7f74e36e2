#include "kernels/cuda/pass_weights.h"

#include "kernels/cuda/launch.h"

namespace sparknet::kernels::cuda {
namespace {

template <class From, class To, class A = Arithmetic<From>>
void add_transposed(Context& context, Index count, Index rows, Index columns, const From* x, To* y, bool accumulate) {
  for_each(context, "gradient of weights", count, [=] __device__(Index i) {
    const Index plane = i / (rows * columns) * rows * columns, row = (i - plane) / columns;
    const A value = x[plane + (i - plane - row * columns) * rows + row];
    y[i] = accumulate ? y[i] + value : value;
  });
}

}  // namespace

void PassWeights::give(Context& context, const void* scratch, void* gradient, bool accumulate) const {
  // Where nothing is transposed a column of one element says so.
  const Index rows = transposes_ ? rows_ : 1, columns = transposes_ ? columns_ : 1;
  with_blob_type(pass_dtype_, [&](auto zero) {
    using T = decltype(zero);
    add_transposed(
        context,
        outer_ * rows_ * columns_,
        rows,
        columns,
        in<T>(scratch),
        out<Arithmetic<T>>(gradient),
        accumulate);
  });
}

}  // namespace sparknet::kernels::cuda
