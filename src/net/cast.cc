#include "src/net/cast.h"

#include "kernels/kernels.h"

namespace sparknet {
namespace {

class RunningCast final : public Layer {
 public:
  void setup(LayerSetup& setup) override {
    setup.backward_reads(false, false);
    setup.recomputes();
  }
  void forward(LayerIO& io) override { convert(io, io.bottom(), io.top()); }
  void backward(LayerIO& io) override {
    if (io.needs_bottom_diff()) convert(io, io.top_diff(), io.bottom_diff());
  }

 private:
  static void convert(LayerIO& io, const Tensor& from, Tensor& to) {
    io.backend().convert(from.dtype(), to.dtype(), to.count(), from.raw(), to.raw());
  }
};

}  // namespace

std::unique_ptr<Layer> CastLayer::make() const {
  return std::make_unique<RunningCast>();
}

}  // namespace sparknet
