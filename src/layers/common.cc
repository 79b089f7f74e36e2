#include "src/layers/common.h"

#include <cmath>

#include "sparknet/element.h"

namespace sparknet {

void require_finite(std::string_view option, double value) {
  require(std::isfinite(value), "option .{} must be finite, not {}", option, value);
}

void require_eps(double eps) {
  require(eps >= 0 && std::isfinite(eps), "option .eps must be finite and not below 0, not {}", eps);
}

void require_positive(std::string_view what, const Shape& shape) {
  for (const Dim dim : shape)
    require(dim > 0, "{} is {}, which has a dimension that is not positive", what, to_string(shape));
}

std::vector<Shape> shapes_of_tops(const std::vector<Shape>& shapes, std::size_t tops) {
  require(!shapes.empty(), "option .shape is required");
  require(
      shapes.size() == 1 || shapes.size() == tops,
      "option .shape has {} shapes and there {} {} top{}; give one for all or one for each, as {{{{64, 10}}, {{64}}}}",
      shapes.size(),
      tops == 1 ? "is" : "are",
      tops,
      tops == 1 ? "" : "s");
  for (const Shape& shape : shapes) {
    require(!shape.empty(), "option .shape has a shape without dimensions");
    require_positive("a shape of option .shape", shape);
  }
  return shapes.size() == tops ? shapes : std::vector<Shape>(tops, shapes[0]);
}

void require_num_output(Dim num_output) {
  require(num_output != 0, "option .num_output is required");
  require(num_output > 0, "option .num_output must be positive, not {}", num_output);
}

void require_kernel(Size2 kernel) {
  require(kernel != Size2(0), "option .kernel is required");
  require(kernel.h > 0 && kernel.w > 0, "option .kernel must be positive, not {}x{}", kernel.h, kernel.w);
}

void require_steps(Size2 stride, Size2 pad) {
  require(stride.h > 0 && stride.w > 0, "option .stride must be positive, not {}x{}", stride.h, stride.w);
  require(pad.h >= 0 && pad.w >= 0, "option .pad must not be negative: it is {}x{}", pad.h, pad.w);
}

void require_image(const Shape& shape) {
  require(shape.size() == 4, "expects an image [N, C, H, W], which has 4 dimensions, not {}", shape.size());
}

void require_fit(Size2 kernel, Size2 extent, Size2 pad, const Shape& image) {
  const Dim h = image[2] + 2 * pad.h, w = image[3] + 2 * pad.w;
  const std::string dilated = extent == kernel ? "" : fmt::format(", dilated to {}x{},", extent.h, extent.w);
  require(
      extent.h <= h && extent.w <= w,
      "kernel {}x{}{} is larger than its {}x{} input (pad included)",
      kernel.h,
      kernel.w,
      dilated,
      h,
      w);
}

std::size_t axis_of(Dim axis, const Shape& shape) {
  const Dim rank = static_cast<Dim>(shape.size());
  require(axis >= -rank && axis < rank, "there is no axis {} in its input of {} dimensions", axis, rank);
  return static_cast<std::size_t>(axis < 0 ? axis + rank : axis);
}

kernels::SoftmaxShape classes_along(Dim axis, const Shape& scores) {
  const std::size_t classes = axis_of(axis, scores);
  return {scores.count(0, classes), scores[classes], scores.count(classes + 1)};
}

double element(const LayerIO& io, const Tensor& tensor, Dim index) {
  return dispatch(tensor.dtype(), [&](auto tag) {
    typename decltype(tag)::type value{};
    io.backend().read(&value, tensor.raw() + static_cast<std::size_t>(index) * sizeof value, sizeof value);
    return static_cast<double>(value);
  });
}

void fill(LayerIO& io, Tensor& tensor, double value) {
  io.backend().map(
      tensor.dtype(),
      {.kind = kernels::MapKind::Constant, .a = value},
      tensor.count(),
      tensor.raw(),
      tensor.raw());
}

std::shared_ptr<std::byte> own_memory(kernels::Backend& backend, std::size_t bytes) {
  return {static_cast<std::byte*>(backend.allocate(bytes)), [&backend](std::byte* memory) { backend.release(memory); }};
}

}  // namespace sparknet
