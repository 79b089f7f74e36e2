#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {
namespace {

/// Outputs below which waking the crew costs more than it saves.
constexpr Index kWorth = 8192;

template <class T>
class PoolingPlan : public Pooling {
 protected:
  PoolingPlan(Engine& engine, const PoolingShape& shape)
      : engine_(engine),
        hot_(table<T>(engine)),
        planes_(shape.batch * shape.channels),
        pixels_(shape.height * shape.width),
        outputs_(shape.out_h * shape.out_w),
        row_args_{
            nullptr,
            shape.height,
            shape.width,
            shape.out_h,
            shape.out_w,
            shape.kernel_h,
            shape.kernel_w,
            shape.stride_h,
            shape.stride_w,
            shape.pad_h,
            shape.pad_w} {}

  template <class F>
  void for_planes(F&& f) {
    for_ranges(engine_.team, planes_, 1, 1 + kWorth / outputs_, [&](Index begin, Index end) {
      for (Index plane = begin; plane < end; ++plane) f(plane);
    });
  }

  PoolRowArgs<T> plane_args(const void* x, Index plane) const {
    PoolRowArgs<T> args = row_args_;
    args.x = static_cast<const T*>(x) + plane * pixels_;
    return args;
  }

  Engine& engine_;
  const HotTable<T>& hot_;
  Index planes_, pixels_, outputs_;
  PoolRowArgs<T> row_args_;
};

/// Windows of 2x2 side by side, all of them inside the image.
template <class T>
class MaxPooling2x2 final : public PoolingPlan<T> {
 public:
  MaxPooling2x2(Engine& engine, const PoolingShape& shape) : PoolingPlan<T>(engine, shape) {}

  std::size_t mask_bytes() const override { return static_cast<std::size_t>(this->planes_ * this->outputs_); }

  void forward(const void* x, void* y, void* mask) override {
    this->for_planes([&](Index plane) {
      const Index at = plane * this->outputs_;
      this->hot_.max_pool_2x2(
          this->row_args_.out_h,
          this->row_args_.out_w,
          this->row_args_.width,
          static_cast<const T*>(x) + plane * this->pixels_,
          static_cast<T*>(y) + at,
          mask ? static_cast<std::uint8_t*>(mask) + at : nullptr);
    });
  }

  void backward(const void* dy, const void* mask, void* dx) override {
    this->for_planes([&](Index plane) {
      const Index at = plane * this->outputs_;
      this->hot_.max_pool_2x2_backward(
          this->row_args_.out_h,
          this->row_args_.out_w,
          this->row_args_.height,
          this->row_args_.width,
          static_cast<const T*>(dy) + at,
          static_cast<const std::uint8_t*>(mask) + at,
          static_cast<T*>(dx) + plane * this->pixels_);
    });
  }

  void places(const void* mask, void* y) const override {
    const auto* winner = static_cast<const std::uint8_t*>(mask);
    const PoolRowArgs<T>& rows = this->row_args_;
    T* to = static_cast<T*>(y);
    for (Index plane = 0; plane < this->planes_; ++plane) {
      for (Index oh = 0; oh < rows.out_h; ++oh) {
        for (Index ow = 0; ow < rows.out_w; ++ow, ++winner) {
          *to++ = static_cast<T>((2 * oh + *winner / 2) * rows.width + 2 * ow + *winner % 2);
        }
      }
    }
  }
};

template <class T>
class MaxPooling final : public PoolingPlan<T> {
 public:
  MaxPooling(Engine& engine, const PoolingShape& shape) : PoolingPlan<T>(engine, shape) {}

  std::size_t mask_bytes() const override {
    return static_cast<std::size_t>(this->planes_ * this->outputs_) * sizeof(std::int32_t);
  }

  void forward(const void* x, void* y, void* mask) override {
    this->for_planes([&](Index plane) {
      const Index at = plane * this->outputs_;
      this->hot_.max_pool(
          this->plane_args(x, plane),
          static_cast<T*>(y) + at,
          mask ? static_cast<std::int32_t*>(mask) + at : nullptr);
    });
  }

  void backward(const void* dy, const void* mask, void* dx) override {
    this->for_planes([&](Index plane) {
      const Index at = plane * this->outputs_;
      const T* const from = static_cast<const T*>(dy) + at;
      const std::int32_t* const place = static_cast<const std::int32_t*>(mask) + at;
      T* const to = static_cast<T*>(dx) + plane * this->pixels_;
      for (Index i = 0; i < this->pixels_; ++i) to[i] = T(0);
      for (Index i = 0; i < this->outputs_; ++i) {
        if (place[i] >= 0) to[place[i]] += from[i];
      }
    });
  }

  void places(const void* mask, void* y) const override {
    const auto* const from = static_cast<const std::int32_t*>(mask);
    T* const to = static_cast<T*>(y);
    for (Index i = 0; i < this->planes_ * this->outputs_; ++i) to[i] = static_cast<T>(from[i]);
  }
};

template <class T>
class AveragePooling final : public PoolingPlan<T> {
 public:
  AveragePooling(Engine& engine, const PoolingShape& shape) : PoolingPlan<T>(engine, shape) {}

  std::size_t mask_bytes() const override { return 0; }

  void forward(const void* x, void* y, void*) override {
    this->for_planes([&](Index plane) {
      this->hot_.average_pool(this->plane_args(x, plane), static_cast<T*>(y) + plane * this->outputs_);
    });
  }

  void backward(const void* dy, const void*, void* dx) override {
    this->for_planes([&](Index plane) {
      this->hot_.average_pool_backward(
          this->row_args_,
          static_cast<const T*>(dy) + plane * this->outputs_,
          static_cast<T*>(dx) + plane * this->pixels_);
    });
  }

  void places(const void*, void*) const override {}
};

bool is_2x2(const PoolingShape& s) {
  return s.kernel_h == 2 && s.kernel_w == 2 && s.stride_h == 2 && s.stride_w == 2 && s.pad_h == 0 && s.pad_w == 0 &&
         2 * s.out_h <= s.height && 2 * s.out_w <= s.width;
}

}  // namespace

std::unique_ptr<Pooling> make_pooling(Engine& engine, DType dtype, const PoolingShape& shape, PoolMethod method) {
  if (method == PoolMethod::Stochastic) return make_stochastic_pooling(engine, dtype, shape);
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<Pooling> {
    using T = decltype(zero);
    if (method == PoolMethod::Average) return std::make_unique<AveragePooling<T>>(engine, shape);
    if (is_2x2(shape)) return std::make_unique<MaxPooling2x2<T>>(engine, shape);
    return std::make_unique<MaxPooling<T>>(engine, shape);
  });
}

}  // namespace sparknet::kernels::cpu
