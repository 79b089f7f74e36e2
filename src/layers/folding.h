#pragma once

#include <span>
#include <vector>

#include "sparknet/layer.h"

namespace sparknet {

/// How the outputs of a convolution or an inner product lie in its weights: [groups][rows][outputs of a group][inner].
struct OutputPlaces {
  Dim groups, rows, inner;
};

/// The passes behind a convolution or an inner product that its weights and bias take in:
/// s (w x + b) + t = (s w) x + (s b + t), in double.
class Folding {
 public:
  void add(const FusedAffine& affine) { affines_.push_back(affine); }
  bool empty() const { return affines_.empty(); }

  struct Result {
    Tensor weights, bias;
  };
  /// The weights of a layer, param 0, and its bias, param 1 if it has one, with what was taken over: copies on the
  /// host.
  Result fold(const LayerIO& io, bool has_bias, Dim num_output, OutputPlaces places) const;

 private:
  std::vector<FusedAffine> affines_;
};

/// The numbers of a tensor on the host.
void read_numbers(const Tensor& from, std::span<double> to);

}  // namespace sparknet
