#include "src/net/cast.h"

#include "kernels/kernels.h"

namespace sparknet {
namespace {

class RunningCast final : public Layer {
 public:
  RunningCast(bool from_nhwc, bool to_nhwc) : from_nhwc_(from_nhwc), to_nhwc_(to_nhwc) {}

  void setup(LayerSetup& setup) override {
    setup.backward_reads(false, false);
    setup.recomputes();
  }
  void forward(LayerIO& io) override { convert(io, io.bottom(), from_nhwc_, io.top(), to_nhwc_); }
  void backward(LayerIO& io) override {
    if (io.needs_bottom_diff()) convert(io, io.top_diff(), to_nhwc_, io.bottom_diff(), from_nhwc_);
  }

 private:
  static void convert(LayerIO& io, const Tensor& from, bool from_nhwc, Tensor& to, bool to_nhwc) {
    if (from_nhwc == to_nhwc) return io.backend().convert(from.dtype(), to.dtype(), to.count(), from.raw(), to.raw());
    const Dim channels = to.shape()[1], pixels = to.shape().count(2);
    io.backend().transpose(
        from.dtype(),
        to.dtype(),
        to.shape()[0],
        from_nhwc ? pixels : channels,
        from_nhwc ? channels : pixels,
        from.raw(),
        to.raw());
  }

  bool from_nhwc_, to_nhwc_;
};

}  // namespace

std::unique_ptr<Layer> CastLayer::make() const {
  return std::make_unique<RunningCast>(from_nhwc, to_nhwc);
}

}  // namespace sparknet
