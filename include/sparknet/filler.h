#pragma once

#include <cstdint>
#include <string>

#include "sparknet/random.h"
#include "sparknet/tensor.h"

namespace sparknet {

/// Which fan Xavier and Msra divide by: the inputs of one output, the outputs one input feeds, or their mean.
enum class VarianceNorm : std::uint8_t { FanIn, FanOut, Average };

/// How a parameter is filled before training: Caffe's FillerParameter as data.
struct Filler {
  enum class Type : std::uint8_t { Constant, Uniform, Gaussian, PositiveUnitball, Xavier, Msra, Bilinear };

  Type type = Type::Xavier;
  double value = 0;
  double min = 0, max = 1;
  double mean = 0, std = 1;
  /// Gaussian only: the expected number of nonzero weights for each output; -1: dense.
  Dim sparse = -1;
  VarianceNorm variance_norm = VarianceNorm::FanIn;

  /// Every element `value`.
  static Filler constant(double value);
  /// Uniform in [min, max).
  static Filler uniform(double min, double max);
  /// Normal; with `sparse` >= 0 each weight is kept with probability sparse / num_outputs.
  static Filler gaussian(double mean, double std, Dim sparse = -1);
  /// Uniform in [0, 1), then each output's weights divided by their sum.
  static Filler positive_unitball();
  /// Uniform in [-sqrt(3 / fan), sqrt(3 / fan)). Glorot and Bengio 2010, in Caffe's form.
  static Filler xavier(VarianceNorm norm = VarianceNorm::FanIn);
  /// Normal with variance 2 / fan. He et al. 2015.
  static Filler msra(VarianceNorm norm = VarianceNorm::FanIn);
  /// Bilinear interpolation, for the square kernels of an upsampling deconvolution.
  static Filler bilinear();

  bool operator==(const Filler&) const = default;
};

/// As it is written in the DSL: "Filler::gaussian(0, 0.01)".
std::string to_text(const Filler& filler);

/// Fills a floating-point parameter. Its fans are Caffe's: fan_in = count / dim 0, fan_out = count / dim 1.
/// Throws ShapeError where the filler does not fit the shape.
void fill(const Filler& filler, Tensor& parameter, Random& random);

}  // namespace sparknet
