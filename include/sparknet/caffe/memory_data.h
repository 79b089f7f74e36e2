#pragma once

#include "sparknet/net_param.h"

namespace sparknet::caffe {

struct MemoryDataOptions {
  Dim batch_size = 0, channels = 0, height = 0, width = 0;  // required

  /// This and all that follows: as for DataLayer, of images from `source`.
  double scale = 1;
  bool mirror = false;
  Dim crop_size = 0;
  std::string mean_file = {};
  std::vector<double> mean_value = {};

  bool operator==(const MemoryDataOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = MemoryDataOptions;
    visit("batch_size", &O::batch_size);
    visit("channels", &O::channels);
    visit("height", &O::height);
    visit("width", &O::width);
    visit("scale", &O::scale);
    visit("mirror", &O::mirror);
    visit("crop_size", &O::crop_size);
    visit("mean_file", &O::mean_file);
    visit("mean_value", &O::mean_value);
  }
};

/// Images and labels that the program has: from `source`, of two columns, or, without one, set by the program as an
/// RDDLayer's are. Caffe's MemoryData; its transformations apply to what comes from `source`.
/// -> [batch_size, channels, height, width] and [batch_size].
///
///     MemoryDataLayer{"data", {.batch_size = 64, .channels = 1, .height = 28, .width = 28},
///                     from_tensors({{"data", images}, {"label", labels}})}
struct MemoryDataLayer {
  static constexpr std::string_view type = "MemoryDataLayer";
  std::string name;
  MemoryDataOptions options = {};
  SourcePtr source = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return {}; }
  std::vector<std::string> tops() const { return {name, "label"}; }  // images, labels
  std::vector<Shape> infer(std::span<const Shape> in, std::size_t tops) const;
  std::unique_ptr<Layer> make() const { return nullptr; }
  std::optional<LayerFeed> feed(Phase phase) const;
  bool operator==(const MemoryDataLayer&) const = default;
};

}  // namespace sparknet::caffe
