#pragma once

#include "sparknet/net_param.h"

namespace sparknet::caffe {

struct HDF5DataOptions {
  /// A text file that names a .h5 file in each line.
  std::string source = {};  // required
  Dim batch_size = 0;       // required
  /// Another order in each epoch, over all files, which then are all kept in memory.
  bool shuffle = false;

  bool operator==(const HDF5DataOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = HDF5DataOptions;
    visit("source", &O::source);
    visit("batch_size", &O::batch_size);
    visit("shuffle", &O::shuffle);
  }
};

/// The rows of arrays in HDF5 files, one file after the other: a top for each of `datasets`, of that name.
/// Caffe's HDF5Data, but that `shuffle` mixes the files' rows. Each array has as many rows as the others of its file.
/// -> [batch_size, ...] for each top.
///
///     HDF5DataLayer{"input", {.source = "train.txt", .batch_size = 10}, {"data", "label"}}
struct HDF5DataLayer {
  static constexpr std::string_view type = "HDF5DataLayer";
  std::string name;
  HDF5DataOptions options = {};
  /// The arrays, in the order of the tops. Where `with` names other tops, these stay what is read.
  std::vector<std::string> datasets = {"data", "label"};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return {}; }
  std::vector<std::string> tops() const { return datasets; }  // one for each of datasets
  std::vector<Shape> infer(std::span<const Shape> in, std::size_t tops) const;
  std::unique_ptr<Layer> make() const { return nullptr; }
  LayerFeed feed(Phase phase) const;
  bool operator==(const HDF5DataLayer&) const = default;
};

}  // namespace sparknet::caffe
