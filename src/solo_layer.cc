#include "src/solo_layer.h"

#include <algorithm>

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

Tensor block(std::size_t bytes) {
  return Tensor(Shape(std::max<std::size_t>(bytes, 1)), DType::U8);
}

}  // namespace

SoloLayer::SoloLayer(const LayerParam& param, std::vector<Shape> bottoms, const SoloOptions& options)
    : param_(param),
      backend_(kernels::make_cpu_backend(options.threads)),
      bottom_shapes_(std::move(bottoms)),
      top_shapes_(infer(param, bottom_shapes_)),
      layer_(param.make()) {
  if (!layer_) throw layer_error(no_net, param, "is an input, which is filled from outside of the net");
  if (options.fuse) fused_ = layer_->fuse(*options.fuse);
  setup_.emplace(bottom_shapes_, top_shapes_, options.dtype, options.phase, *backend_);
  layer_->setup(*setup_);
  scratch_ = block(setup_->scratch_bytes);
  state_ = block(setup_->state_bytes);

  const bool in_place = options.in_place && setup_->can_run_in_place, trains = options.phase == Phase::Train;
  for (std::size_t i = 0; i < bottom_shapes_.size(); ++i) {
    const bool dead = std::ranges::count(setup_->dead_bottoms, i) != 0;
    io_.bottoms.emplace_back(bottom_shapes_[i], options.dtype);
    io_.bottom_diffs.push_back(dead || !trains ? Tensor() : Tensor(bottom_shapes_[i], options.dtype));
  }
  for (std::size_t i = 0; i < top_shapes_.size(); ++i) {
    const bool shared = in_place && i == 0;
    io_.tops.push_back(shared ? io_.bottoms[0].reshape(top_shapes_[i]) : Tensor(top_shapes_[i], options.dtype));
    io_.top_diffs.push_back(
        shared && io_.bottom_diffs[0].defined() ? io_.bottom_diffs[0].reshape(top_shapes_[i])
                                                : Tensor(top_shapes_[i], options.dtype));
  }
  for (const LayerSetup::Param& learned : setup_->params) {
    io_.params.emplace_back(learned.shape, options.dtype);
    io_.param_diffs.push_back(learned.lr_mult == 0 || !trains ? Tensor() : Tensor(learned.shape, options.dtype));
  }
  io_.scratch_memory = scratch_.raw();
  io_.state_memory = state_.raw();
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
