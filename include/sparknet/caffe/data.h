#pragma once

#include "sparknet/caffe/database.h"
#include "sparknet/net_param.h"

namespace sparknet::caffe {

struct DataOptions {
  /// The database's folder.
  std::string source = {};  // required
  Database backend = Database::LevelDB;
  Dim batch_size = 0;  // required
  /// Begin so many examples late, or fewer: the number below it follows from the layer's name.
  Dim rand_skip = 0;
  /// Read images that are stored as PNG or JPEG as colour; force_color is the same.
  bool force_encoded_color = false;
  /// How many batches are made ahead.
  Dim prefetch = 4;

  /// An image becomes (x - mean) * scale. Caffe's transform_param, as all that follows.
  double scale = 1;
  /// Flip half of the images left to right, in the training phase.
  bool mirror = false;
  /// The side of a square cut out: at a random place in the training phase, else from the centre. 0: none.
  Dim crop_size = 0;
  /// A file with the mean image, as of read_blob; or one mean for all channels, or one for each.
  std::string mean_file = {};
  std::vector<double> mean_value = {};
  /// Read images that are stored as PNG or JPEG as colour, or as gray.
  bool force_color = false, force_gray = false;

  bool operator==(const DataOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = DataOptions;
    visit("source", &O::source);
    visit("backend", &O::backend);
    visit("batch_size", &O::batch_size);
    visit("rand_skip", &O::rand_skip);
    visit("force_encoded_color", &O::force_encoded_color);
    visit("prefetch", &O::prefetch);
    visit("scale", &O::scale);
    visit("mirror", &O::mirror);
    visit("crop_size", &O::crop_size);
    visit("mean_file", &O::mean_file);
    visit("mean_value", &O::mean_value);
    visit("force_color", &O::force_color);
    visit("force_gray", &O::force_gray);
  }
};

/// Images and their labels from a database of Caffe's, in the order of keys, over and over. Caffe's Data, but that
/// mirror does nothing in the test phase and that all images have one size before the crop.
/// -> [batch_size, C, H, W], and [batch_size] where there is a second top.
///
///     DataLayer{"data", {.source = "mnist_train_lmdb", .backend = Database::LMDB, .batch_size = 64}}
struct DataLayer {
  static constexpr std::string_view type = "DataLayer";
  std::string name;
  DataOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return {}; }
  std::vector<std::string> tops() const { return {name, "label"}; }  // images[, labels]
  std::vector<Shape> infer(std::span<const Shape> in, std::size_t tops) const;
  std::unique_ptr<Layer> make() const { return nullptr; }
  LayerFeed feed(Phase phase) const;
  bool operator==(const DataLayer&) const = default;
};

}  // namespace sparknet::caffe
