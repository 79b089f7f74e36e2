#pragma once

// One layer that runs by itself, outside of any net.

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/kernels.h"
#include "sparknet/layer.h"
#include "sparknet/net_param.h"

namespace sparknet {

/// What layers by themselves run on, with memory that the host can read and write. The CPU, unless tests say otherwise.
struct SoloPlace {
  std::function<std::shared_ptr<kernels::Backend>(int threads)> make_backend;
  /// Zeroed.
  std::function<std::shared_ptr<void>(std::size_t bytes)> allocate;
};
SoloPlace& solo_place();

struct SoloOptions {
  DType dtype = DType::F64;
  Phase phase = Phase::Train;
  int threads = 1;
  std::uint64_t seed = 1;
  /// A ReLU for the layer to take over.
  std::optional<FusedReLU> fuse = {};
  /// Lets top 0 lie in the memory of bottom `in_place_of`, and their gradients likewise, where the layer allows it.
  bool in_place = false;
  std::size_t in_place_of = 0;
};

/// Every blob, parameter and gradient has zeroed memory of its own.
class SoloLayer {
 public:
  /// Throws NetError where the layer refuses the shapes or cannot run by itself.
  SoloLayer(const LayerParam& param, std::vector<Shape> bottoms, const SoloOptions& options);

  const LayerSetup& setup() const { return *setup_; }
  LayerIO& io() { return io_; }
  /// True where the layer took over the ReLU of the options.
  bool fused() const { return fused_; }

  /// Throw NetError where the layer refuses the values.
  void forward() {
    run([&] {
      layer_->forward(io_);
      if (io_.verdict() && *io_.verdict() >= 0) layer_->refuse(io_, *io_.verdict());
    });
  }
  void recompute() {
    run([&] { layer_->recompute(io_); });
  }
  void backward() {
    run([&] { layer_->backward(io_); });
  }

 private:
  void run(const std::function<void()>& pass) const;

  LayerParam param_;
  std::shared_ptr<kernels::Backend> backend_;
  std::vector<Shape> bottom_shapes_, top_shapes_;
  std::unique_ptr<Layer> layer_;
  bool fused_ = false;
  std::optional<LayerSetup> setup_;
  Tensor scratch_, state_, verdict_;
  LayerIO io_;
};

}  // namespace sparknet
