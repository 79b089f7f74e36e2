#include <algorithm>
#include <new>

#include "kernels/cpu/im2col.h"

namespace sparknet::kernels::cpu {
namespace {

/// Pixels that are worth a product of their own, and what the columns of several images may take for it.
constexpr Index kPixels = 4096;
constexpr double kColumnBytes = 256 << 20;

/// A convolution of single pixels on columns that are written out, for a few images at a time.
template <class T>
class ConvolutionNd final : public Linear {
 public:
  ConvolutionNd(Engine& engine, const ConvolutionNdShape& shape, Activation activation)
      : engine_(engine), window_(shape.window), batch_(shape.window.batch) {
    const Index positions = window_.positions(), columns = window_.channels * window_.taps();
    const double bytes = static_cast<double>(columns) * static_cast<double>(positions) * sizeof(T);
    if (bytes > 1e15) throw std::bad_alloc();  // what follows is counted in 64 bits
    const Index wanted = std::min((kPixels + positions - 1) / positions, batch_);
    images_ = std::clamp<Index>(static_cast<Index>(kColumnBytes / bytes), 1, wanted);
    x_size_ = window_.channels * window_.pixels();
    y_size_ = shape.num_output * positions;
    columns_at_ = layout_.add(images_ * columns * positions);
    gradient_at_ = layout_.add(images_ * columns * positions);
    const Index rest = batch_ % images_;
    std::size_t plan_bytes = 0;
    const auto plan = [&](Index images) {
      ConvolutionShape pixels{images, columns, window_.out(0), positions / window_.out(0), shape.num_output, 1, 1};
      pixels.group = shape.group;
      auto made = make_convolution(engine, dtype_of<T>, pixels, activation);
      plan_bytes = std::max(plan_bytes, made->scratch_bytes());
      return made;
    };
    plan_ = plan(images_);
    if (rest > 0) rest_plan_ = plan(rest);
    scratch_bytes_ = static_cast<std::size_t>(layout_.size()) * sizeof(T) + plan_bytes;
  }

  std::size_t scratch_bytes() const override { return scratch_bytes_; }

  void forward(const void* x, const void* weights, const void* bias, void* y, void* scratch) override {
    T* const columns = static_cast<T*>(scratch) + columns_at_;
    for (Index image = 0; image < batch_; image += images_) {
      im2col(engine_, part(image), static_cast<const T*>(x) + image * x_size_, columns);
      plan(image).forward(columns, weights, bias, static_cast<T*>(y) + image * y_size_, rest(scratch));
    }
  }

  void backward(const BackwardArgs& args, void* scratch) override {
    T* const columns = static_cast<T*>(scratch) + columns_at_;
    T* const gradient = static_cast<T*>(scratch) + gradient_at_;
    for (Index image = 0; image < batch_; image += images_) {
      BackwardArgs some = args;
      if (args.dweights) im2col(engine_, part(image), static_cast<const T*>(args.x) + image * x_size_, columns);
      some.x = columns;
      some.y = args.y ? static_cast<const T*>(args.y) + image * y_size_ : nullptr;
      some.dy = static_cast<T*>(args.dy) + image * y_size_;
      some.dx = args.dx ? gradient : nullptr;
      some.accumulate = args.accumulate || image > 0;
      plan(image).backward(some, rest(scratch));
      if (args.dx) col2im(engine_, part(image), gradient, static_cast<T*>(args.dx) + image * x_size_);
    }
  }

 private:
  bool is_rest(Index image) const { return image + images_ > batch_; }
  Linear& plan(Index image) const { return is_rest(image) ? *rest_plan_ : *plan_; }
  WindowShape part(Index image) const {
    WindowShape some = window_;
    some.batch = std::min(images_, batch_ - image);
    return some;
  }
  void* rest(void* scratch) const { return static_cast<T*>(scratch) + layout_.size(); }

  Engine& engine_;
  WindowShape window_;
  Index batch_, images_ = 0;
  /// Elements of one image.
  Index x_size_ = 0, y_size_ = 0;
  Layout<T> layout_;
  Index columns_at_ = 0, gradient_at_ = 0;
  std::size_t scratch_bytes_ = 0;
  std::unique_ptr<Linear> plan_, rest_plan_;
};

}  // namespace

std::unique_ptr<Linear> make_convolution_nd(
    Engine& engine, DType dtype, const ConvolutionNdShape& shape, Activation activation) {
  if (shape.window.axes <= 2) return make_convolution(engine, dtype, flat(shape), activation);
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<Linear> {
    return std::make_unique<ConvolutionNd<decltype(zero)>>(engine, shape, activation);
  });
}

}  // namespace sparknet::kernels::cpu
