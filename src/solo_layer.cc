#include "src/solo_layer.h"

#include <algorithm>
#include <memory>

#include "src/layer_error.h"

namespace sparknet {
namespace {

constexpr const char* no_net = "one layer by itself";

NetError refusal(const LayerParam& param, const std::vector<Shape>& bottoms, const std::exception& why) {
  std::vector<InputNote> notes;
  for (std::size_t i = 0; i < bottoms.size(); ++i) notes.push_back({param.inputs()[i], bottoms[i], {}});
  return layer_error(no_net, param, why.what(), notes);
}

std::vector<Shape> infer(const LayerParam& param, const std::vector<Shape>& bottoms) {
  const auto names = param.inputs();
  if (bottoms.size() != names.size())
    throw layer_error(
        no_net,
        param,
        "reads " + std::to_string(names.size()) + " blobs and was given " + std::to_string(bottoms.size()));
  try {
    std::vector<Shape> tops = param.infer(bottoms);
    for (const Shape& top : tops) detail::checked_bytes(top, DType::F64);
    return tops;
  } catch (const BadInput& why) {
    throw refusal(param, bottoms, why);
  } catch (const ShapeError& why) {
    throw refusal(param, bottoms, why);
  }
}

Tensor make_tensor(const Shape& shape, DType dtype) {
  const std::shared_ptr<void> memory = solo_place().allocate(detail::checked_bytes(shape, dtype));
  return Tensor::share(memory, memory.get(), shape, dtype);
}

Tensor block(std::size_t bytes) {
  return make_tensor(Shape(std::max<std::size_t>(bytes, 1)), DType::U8);
}

}  // namespace

SoloPlace& solo_place() {
  static SoloPlace place{
      [](int threads) -> std::shared_ptr<kernels::Backend> { return kernels::make_cpu_backend(threads); },
      [](std::size_t bytes) {
        const auto block = std::make_shared<Tensor>(Shape(bytes), DType::U8);
        return std::shared_ptr<void>(block, block->raw());
      }};
  return place;
}

SoloLayer::SoloLayer(const LayerParam& param, std::vector<Shape> bottoms, const SoloOptions& options)
    : param_(param),
      backend_(solo_place().make_backend(options.threads)),
      bottom_shapes_(std::move(bottoms)),
      top_shapes_(infer(param, bottom_shapes_)),
      layer_(param.make()) {
  if (!layer_) throw layer_error(no_net, param, "is an input, which is filled from outside of the net");
  if (options.fuse) fused_ = layer_->fuse(*options.fuse);
  setup_.emplace(bottom_shapes_, top_shapes_, options.dtype, options.phase, *backend_);
  layer_->setup(*setup_);
  scratch_ = block(setup_->scratch_bytes);
  state_ = block(setup_->state_bytes);
  verdict_ = block(sizeof(std::int64_t));

  const std::size_t in_place_of = options.in_place_of;
  const bool in_place = options.in_place && in_place_of < setup_->in_place_bottoms;
  const bool trains = options.phase == Phase::Train;
  for (std::size_t i = 0; i < bottom_shapes_.size(); ++i) {
    const bool dead = std::ranges::count(setup_->dead_bottoms, i) != 0;
    io_.bottoms.push_back(make_tensor(bottom_shapes_[i], options.dtype));
    io_.bottom_diffs.push_back(dead || !trains ? Tensor() : make_tensor(bottom_shapes_[i], options.dtype));
  }
  for (std::size_t i = 0; i < top_shapes_.size(); ++i) {
    const bool shared = in_place && i == 0;
    io_.tops.push_back(
        shared ? io_.bottoms[in_place_of].reshape(top_shapes_[i]) : make_tensor(top_shapes_[i], options.dtype));
    io_.top_diffs.push_back(
        shared && io_.bottom_diffs[in_place_of].defined() ? io_.bottom_diffs[in_place_of].reshape(top_shapes_[i])
                                                          : make_tensor(top_shapes_[i], options.dtype));
  }
  for (const LayerSetup::Param& learned : setup_->params) {
    io_.params.push_back(make_tensor(learned.shape, options.dtype));
    io_.param_diffs.push_back(learned.lr_mult == 0 || !trains ? Tensor() : make_tensor(learned.shape, options.dtype));
  }
  io_.scratch_memory = scratch_.raw();
  io_.state_memory = state_.raw();
  if (setup_->has_verdict) io_.verdict_memory = reinterpret_cast<std::int64_t*>(verdict_.raw());
  io_.net_phase = options.phase;
  io_.net_dtype = options.dtype;
  io_.net_backend = backend_.get();
  io_.net_seed = options.seed;
  io_.step_sequence = 1;
}

void SoloLayer::run(const std::function<void()>& pass) const {
  try {
    pass();
  } catch (const BadInput& why) {
    throw refusal(param_, bottom_shapes_, why);
  }
}

}  // namespace sparknet
