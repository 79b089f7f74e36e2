#pragma once

#include <filesystem>

#include "sparknet/net_param.h"

namespace sparknet::caffe {

struct ImageDataOptions {
  /// A text file with a line for each image: its path, a space and its label.
  std::string source = {};  // required
  Dim batch_size = 1;
  /// Begin so many images late, or fewer: the number below it follows from the layer's name.
  Dim rand_skip = 0;
  /// Another order in each epoch.
  bool shuffle = false;
  /// The size that images are brought to; 0 and 0: they are of one size already.
  Dim new_height = 0, new_width = 0;
  /// Three channels, blue, green and red, or one of gray.
  bool is_color = true;
  /// What paths begin with: put before them as it is, so it ends in a slash.
  std::string root_folder = {};

  /// This and all that follows: as for DataLayer.
  double scale = 1;
  bool mirror = false;
  Dim crop_size = 0;
  std::string mean_file = {};
  std::vector<double> mean_value = {};

  bool operator==(const ImageDataOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = ImageDataOptions;
    visit("source", &O::source);
    visit("batch_size", &O::batch_size);
    visit("rand_skip", &O::rand_skip);
    visit("shuffle", &O::shuffle);
    visit("new_height", &O::new_height);
    visit("new_width", &O::new_width);
    visit("is_color", &O::is_color);
    visit("root_folder", &O::root_folder);
    visit("scale", &O::scale);
    visit("mirror", &O::mirror);
    visit("crop_size", &O::crop_size);
    visit("mean_file", &O::mean_file);
    visit("mean_value", &O::mean_value);
  }
};

/// PNG and JPEG files that a list names: columns "data" u8 [channels, height, width] and "label" i32 [1]. A file is
/// read when its example is asked for. Throws DataError, with the line, for a list that makes no sense.
SourcePtr read_image_list(const ImageDataOptions& options);

/// Images and labels from files. Caffe's ImageData, with OpenCV's order of colours and its bilinear resizing, but that
/// mirror does nothing in the test phase and that all images have one size before the crop.
/// -> [batch_size, 3 or 1, H, W] and [batch_size].
///
///     ImageDataLayer{"data", {.source = "train.txt", .batch_size = 50, .new_height = 256, .new_width = 256}}
struct ImageDataLayer {
  static constexpr std::string_view type = "ImageDataLayer";
  std::string name;
  ImageDataOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return {}; }
  std::vector<std::string> tops() const { return {name, "label"}; }  // images, labels
  std::vector<Shape> infer(std::span<const Shape> in, std::size_t tops) const;
  std::unique_ptr<Layer> make() const { return nullptr; }
  LayerFeed feed(Phase phase) const;
  bool operator==(const ImageDataLayer&) const = default;
};

}  // namespace sparknet::caffe
