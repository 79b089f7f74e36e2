#pragma once

// What the layers that read examples share.

#include <string>
#include <vector>

#include "sparknet/net_param.h"

namespace sparknet::caffe {

/// The fields of Caffe's transform_param that several options have. `mean_file` is read.
template <class Options>
Transform transform_of(const Options& options, Tensor mean) {
  Transform transform;
  transform.scale = options.scale;
  transform.mean_values = options.mean_value;
  transform.mean = std::move(mean);
  transform.crop = options.crop_size;
  transform.mirror = options.mirror;
  return transform;
}

/// The mean in a file, for examples [C, H, W]; undefined where the name is empty.
Tensor read_mean(const std::string& file);

/// Refuses options that no image suits.
void require_batch(Dim batch_size, Dim rand_skip, Dim crop_size);
void require_means(const std::string& mean_file, const std::vector<double>& mean_value, Dim channels);
/// [batch_size, C, H, W] after the crop.
Shape image_top(const Shape& image, Dim batch_size, Dim crop_size);

/// The source from another example on: fewer than `rand_skip` later, as the name says.
SourcePtr skip(SourcePtr source, Dim rand_skip, const std::string& name);

/// Runs what may throw DataError where a layer refuses by BadInput.
template <class F>
auto or_refuse(F&& f) {
  try {
    return f();
  } catch (const DataError& error) {
    throw BadInput(error.what());
  }
}

}  // namespace sparknet::caffe
