#include "src/net/inlet.h"

#include <algorithm>
#include <utility>

namespace sparknet {

Inlet::Inlet(Device device, SourcePtr source, std::vector<FeedSlot> slots, FeedOptions options) {
  std::vector<FeedSlot> wanted;
  for (FeedSlot& slot : slots) {
    Way way{.slot = slot};
    if (device.type != Device::Type::Cpu && source) way = make_way(slot, *source, options);
    if (way.as_bytes) slot.dtype = DType::U8, slot.part = FeedPart::Stored;
    wanted.push_back(std::move(slot));
    if (way.batch.placed) wanted.push_back({way.slot.name, {way.batch.examples, 3}, DType::I32, FeedPart::Placement});
    ways_.push_back(std::move(way));
  }
  feed_ = std::make_unique<Feed>(std::move(source), std::move(wanted), std::move(options));
}

Inlet::Way Inlet::make_way(FeedSlot slot, const DataSource& source, const FeedOptions& options) {
  Way way{.slot = std::move(slot)};
  const int number = source.column(way.slot.name);
  if (number < 0) return way;
  const Column& column = source.columns()[static_cast<std::size_t>(number)];
  const Shape& shape = way.slot.shape;
  if (column.dtype != DType::U8 || shape.empty() || shape[0] < 1) return way;
  way.as_bytes = true;

  kernels::ByteBatch& batch = way.batch;
  batch.dtype = way.slot.dtype;
  batch.examples = shape[0];
  batch.width = shape.count() / shape[0];
  const bool image = column.shape.size() == 3 && shape.size() == 4;
  if (image) batch.channels = shape[1], batch.height = shape[2], batch.width = shape[3];

  const auto found = options.transforms.find(way.slot.name);
  const Transform transform = found != options.transforms.end() ? found->second : Transform{};
  batch.scale = transform.scale;
  if (transform.mean.defined()) {
    way.mean = transform.mean;
    batch.mean_steps[2] = 1;
    if (image) batch.mean_steps[0] = column.shape[1] * column.shape[2], batch.mean_steps[1] = column.shape[2];
    batch.placed = transform.crop != 0 || transform.mirror;
  } else {
    const std::vector<double>& values = transform.mean_values;
    way.mean = Tensor({std::max<Dim>(1, static_cast<Dim>(values.size()))}, DType::F64);
    std::ranges::copy(values, way.mean.span<double>().begin());
    batch.mean_steps[0] = values.size() > 1 ? 1 : 0;
  }
  way.mean = way.mean.cast(batch.dtype);
  return way;
}

void Inlet::bind(kernels::Backend& backend, std::vector<Tensor> tops) {
  if (backend.on_host()) {
    tops_ = std::move(tops);
    return;
  }
  for (std::size_t i = 0; i < ways_.size(); ++i) {
    Way& way = ways_[i];
    way.top = std::move(tops[i]);
    if (way.as_bytes) {
      way.batch.mean = way.mean.raw();
      way.batch.mean_count = way.mean.count();
      way.upload = backend.upload(way.batch);
    } else {
      way.upload = backend.upload(way.top.bytes());
    }
  }
}

void Inlet::take(const kernels::Index* veto) {
  if (!tops_.empty()) return feed_->next(tops_);
  std::vector<Tensor> buffers;
  for (Way& way : ways_) {
    auto* const buffer = static_cast<std::byte*>(way.upload->buffer());
    buffers.push_back(Tensor::borrow(buffer, way.slot.shape, way.as_bytes ? DType::U8 : way.slot.dtype));
    if (way.batch.placed)
      buffers.push_back(Tensor::borrow(buffer + way.batch.placements_at(), {way.batch.examples, 3}, DType::I32));
  }
  feed_->next(buffers);
  for (Way& way : ways_) way.upload->send(way.top.raw(), veto);
}

}  // namespace sparknet
