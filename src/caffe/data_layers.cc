#include "src/caffe/data_layers.h"

#include "sparknet/caffe/blob.h"
#include "sparknet/caffe/data.h"
#include "sparknet/caffe/image_data.h"
#include "sparknet/caffe/memory_data.h"
#include "src/layers/common.h"

namespace sparknet::caffe {
namespace {

/// The same examples, the first of them another.
class LaterSource final : public DataSource {
 public:
  LaterSource(SourcePtr from, Dim first) : from_(std::move(from)), first_(first) {}
  const std::vector<Column>& columns() const override { return from_->columns(); }
  Dim size() const override { return from_->size(); }
  const std::byte* example(Dim index, std::size_t column, std::byte* buffer) const override {
    if (index < 0 || index >= size()) return from_->example(index, column, buffer);  // throws
    return from_->example((index + first_) % size(), column, buffer);
  }

 private:
  SourcePtr from_;
  Dim first_;
};

SourcePtr open(const DataOptions& options) {
  require(!options.source.empty(), "option .source is required: the database's folder");
  require(!(options.force_color && options.force_gray), "options .force_color and .force_gray are both set; take one");
  const bool color = options.force_color || (options.force_encoded_color && !options.force_gray);
  const DecodeAs decode = color ? DecodeAs::Color : options.force_gray ? DecodeAs::Gray : DecodeAs::Native;
  return read_database(options.source, options.backend, decode);
}

template <class Options>
LayerFeed feed_of(SourcePtr source, const Options& options, Phase phase) {
  LayerFeed feed;
  feed.options.transforms[source->columns()[0].name] = transform_of(options, read_mean(options.mean_file));
  feed.options.random = phase == Phase::Train;
  feed.source = std::move(source);
  return feed;
}

}  // namespace

Tensor read_mean(const std::string& file) {
  return file.empty() ? Tensor() : read_blob(file);
}

void require_batch(Dim batch_size, Dim rand_skip, Dim crop_size) {
  require(batch_size > 0, "option .batch_size must be positive, not {}", batch_size);
  require(rand_skip >= 0, "option .rand_skip must not be negative: it is {}", rand_skip);
  require(crop_size >= 0, "option .crop_size must not be negative: it is {}", crop_size);
}

void require_means(const std::string& mean_file, const std::vector<double>& mean_value, Dim channels) {
  require(mean_file.empty() || mean_value.empty(), "options .mean_file and .mean_value are both given; take one");
  const auto values = static_cast<Dim>(mean_value.size());
  require(
      values <= 1 || values == channels,
      "option .mean_value has {} values for {} channels; give one for each, or one for all",
      values,
      channels);
}

Shape image_top(const Shape& image, Dim batch_size, Dim crop_size) {
  require(
      crop_size <= image[1] && crop_size <= image[2],
      "option .crop_size is {} and the images are {} x {}",
      crop_size,
      image[1],
      image[2]);
  return {batch_size, image[0], crop_size > 0 ? crop_size : image[1], crop_size > 0 ? crop_size : image[2]};
}

SourcePtr skip(SourcePtr source, Dim rand_skip, const std::string& name) {
  if (rand_skip <= 0) return source;
  std::uint64_t seed = 14695981039346656037u;  // FNV-1a, the same on every machine
  for (const char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 1099511628211u;
  const Dim first = static_cast<Dim>(Random(seed).below(static_cast<std::uint64_t>(rand_skip))) % source->size();
  return std::make_shared<LaterSource>(std::move(source), first);
}

std::vector<Shape> DataLayer::infer(std::span<const Shape>, std::size_t tops) const {
  require(tops == 1 || tops == 2, "a Data layer has one top or two, not {}", tops);
  require_batch(options.batch_size, options.rand_skip, options.crop_size);
  require(options.prefetch >= 0, "option .prefetch must not be negative: it is {}", options.prefetch);
  return or_refuse([&] {
    const Shape image = open(options)->columns()[0].shape;
    require_means(options.mean_file, options.mean_value, image[0]);
    std::vector<Shape> shapes = {image_top(image, options.batch_size, options.crop_size)};
    if (tops == 2) shapes.push_back({options.batch_size});
    return shapes;
  });
}

LayerFeed DataLayer::feed(Phase phase) const {
  LayerFeed feed = feed_of(skip(open(options), options.rand_skip, name), options, phase);
  feed.options.prefetch = static_cast<int>(options.prefetch);
  return feed;
}

std::vector<Shape> MemoryDataLayer::infer(std::span<const Shape>, std::size_t tops) const {
  require(tops == 2, "a MemoryData layer has two tops, not {}", tops);
  const MemoryDataOptions& o = options;
  require_batch(o.batch_size, 0, o.crop_size);
  require(
      o.channels > 0 && o.height > 0 && o.width > 0,
      "options .channels, .height and .width must be positive, not {}, {} and {}",
      o.channels,
      o.height,
      o.width);
  require_means(o.mean_file, o.mean_value, o.channels);
  const Shape image = {o.channels, o.height, o.width};
  if (source) {
    const std::vector<Column>& columns = source->columns();
    require(columns.size() >= 2, "the source has {} column, and two are wanted: images and labels", columns.size());
    // As Caffe's: the options say what the net gets, and images may be larger before the crop.
    const Shape& found = columns[0].shape;
    if (o.crop_size == 0)
      require(found == image, "the options say {} and the source's images are {}", to_string(image), to_string(found));
    else
      require(
          found.size() == 3 && found[0] == o.channels && o.height == o.crop_size && o.width == o.crop_size,
          "option .crop_size is {}, the options say {} and the source's images are {}: channels agree, and what the "
          "options say is the size after the crop",
          o.crop_size,
          to_string(image),
          to_string(found));
  }
  return {{o.batch_size, o.channels, o.height, o.width}, {o.batch_size}};
}

std::optional<LayerFeed> MemoryDataLayer::feed(Phase phase) const {
  if (!source) return {};
  return feed_of(source, options, phase);
}

std::vector<Shape> ImageDataLayer::infer(std::span<const Shape>, std::size_t tops) const {
  require(tops == 2, "an ImageData layer has two tops, not {}", tops);
  require_batch(options.batch_size, options.rand_skip, options.crop_size);
  require_means(options.mean_file, options.mean_value, options.is_color ? 3 : 1);
  return or_refuse([&]() -> std::vector<Shape> {
    const Shape image = read_image_list(options)->columns()[0].shape;
    return {image_top(image, options.batch_size, options.crop_size), {options.batch_size}};
  });
}

LayerFeed ImageDataLayer::feed(Phase phase) const {
  LayerFeed feed = feed_of(skip(read_image_list(options), options.rand_skip, name), options, phase);
  feed.options.shuffle = options.shuffle;
  return feed;
}

}  // namespace sparknet::caffe
