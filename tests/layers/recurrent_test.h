#pragma once

// What the tests of RNN and LSTM share.

#include <cmath>
#include <vector>

#include "layer_test.h"
#include "sparknet/layers/recurrent.h"

namespace sparknet::test {

/// The gates of the state for T steps of N sequences: some begin in the middle, and all begin in the first step where
/// `begin`.
inline Tensor cont_of(Dim steps, Dim batch, bool begin) {
  Tensor cont({steps, batch}, DType::F64);
  for (Dim t = 0; t < steps; ++t)
    for (Dim n = 0; n < batch; ++n) {
      const bool begins = t == 0 ? begin || n % 3 == 2 : (t + n) % 4 == 3;
      cont.set<double>(begins ? 0 : (n % 5 == 4 ? 0.5 : 1), t, n);
    }
  return cont;
}

/// a b for rows of a matrix [outputs, count] and a vector of `count` numbers.
inline double product(const Tensor& matrix, Dim row, const double* vector) {
  const Dim count = matrix.shape()[1];
  double sum = 0;
  for (Dim i = 0; i < count; ++i) sum += matrix.get<double>(row, i) * vector[i];
  return sum;
}

inline const double* at(const Tensor& tensor, Dim element) {
  return tensor.span<const double>().data() + element;
}

/// What a layer is told and given in a comparison.
struct RecurrentCase {
  Dim steps, batch, inputs, outputs, statics = 0;
  int threads = 1;
};

inline const std::vector<RecurrentCase> recurrent_cases = {
    {1, 1, 1, 1},
    {3, 2, 4, 3},
    {5, 6, 7, 9, 4},
    {4, 33, 20, 17},
    {2, 1, 5, 40, 3},
    {6, 40, 30, 65, 10, 3},
};

}  // namespace sparknet::test
