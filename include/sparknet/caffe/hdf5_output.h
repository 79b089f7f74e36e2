#pragma once

#include "sparknet/net_param.h"

namespace sparknet::caffe {

struct HDF5OutputOptions {
  std::string file_name = {};  // required

  bool operator==(const HDF5OutputOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = HDF5OutputOptions;
    visit("file_name", &O::file_name);
  }
};

/// Writes its bottoms to an HDF5 file: an array for each, to which every forward pass adds the batch as rows. Two
/// bottoms are the arrays "data" and "label", as of Caffe's HDF5Output; any other number have the bottoms' names. The
/// file appears, whole, when the net goes; one that is there is then replaced. No tops and no gradient.
///
///     HDF5OutputLayer{"keep", {"features", "label"}, {.file_name = "features.h5"}}
struct HDF5OutputLayer {
  static constexpr std::string_view type = "HDF5OutputLayer";
  std::string name;
  AnyInputs bottom;
  HDF5OutputOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  std::vector<std::string> tops() const { return {}; }
  std::vector<Shape> infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const HDF5OutputLayer&) const = default;
};

}  // namespace sparknet::caffe
