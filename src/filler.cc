#include "sparknet/filler.h"

#include <fmt/format.h>

#include <cmath>
#include <span>

namespace sparknet {
namespace {

Dim first_dim(const Shape& shape) {
  return shape.empty() ? 1 : shape[0];
}

double fan(const Shape& shape, VarianceNorm norm) {
  const double count = static_cast<double>(shape.count());
  const double fan_in = count / static_cast<double>(first_dim(shape));
  const double fan_out = count / static_cast<double>(shape.size() < 2 ? 1 : shape[1]);
  switch (norm) {
    case VarianceNorm::FanIn: return fan_in;
    case VarianceNorm::FanOut: return fan_out;
    case VarianceNorm::Average: break;
  }
  return (fan_in + fan_out) / 2;
}

[[noreturn]] void refuse(const Filler& filler, const Shape& shape, const std::string& why) {
  throw ShapeError(fmt::format("{} does not fit {}: {}", to_text(filler), to_string(shape), why));
}

template <class T>
void fill_uniform(std::span<T> values, double min, double max, Random& random) {
  for (T& value : values) value = static_cast<T>(random.uniform(min, max));
}

template <class T>
void fill_gaussian(std::span<T> values, double mean, double std, Random& random) {
  for (T& value : values) value = static_cast<T>(mean + std * random.gaussian());
}

template <class T>
void fill_positive_unitball(std::span<T> values, Dim outputs, Random& random) {
  fill_uniform(values, 0, 1, random);
  const std::size_t inputs = values.size() / static_cast<std::size_t>(outputs);
  for (; !values.empty(); values = values.subspan(inputs)) {
    double sum = 0;
    for (const T value : values.first(inputs)) sum += static_cast<double>(value);
    for (T& value : values.first(inputs)) value = static_cast<T>(static_cast<double>(value) / sum);
  }
}

template <class T>
void fill_bilinear(std::span<T> values, Dim side) {
  const double f = std::ceil(static_cast<double>(side) / 2), center = static_cast<double>(side - 1) / (2 * f);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Dim position = static_cast<Dim>(i), x = position % side, y = position / side % side;
    const auto weight = [&](Dim at) { return 1 - std::abs(static_cast<double>(at) / f - center); };
    values[i] = static_cast<T>(weight(x) * weight(y));
  }
}

template <class T>
void fill_values(const Filler& filler, const Shape& shape, std::span<T> values, Random& random) {
  switch (filler.type) {
    case Filler::Type::Constant:
      for (T& value : values) value = static_cast<T>(filler.value);
      break;
    case Filler::Type::Uniform: fill_uniform(values, filler.min, filler.max, random); break;
    case Filler::Type::Gaussian: {
      fill_gaussian(values, filler.mean, filler.std, random);
      if (filler.sparse < 0) break;
      const double keep = static_cast<double>(filler.sparse) / static_cast<double>(first_dim(shape));
      for (T& value : values)
        if (random.uniform() >= keep) value = 0;
      break;
    }
    case Filler::Type::PositiveUnitball: fill_positive_unitball(values, first_dim(shape), random); break;
    case Filler::Type::Xavier: {
      const double scale = std::sqrt(3 / fan(shape, filler.variance_norm));
      fill_uniform(values, -scale, scale, random);
      break;
    }
    case Filler::Type::Msra: {
      fill_gaussian(values, 0, std::sqrt(2 / fan(shape, filler.variance_norm)), random);
      break;
    }
    case Filler::Type::Bilinear: fill_bilinear(values, shape[3]); break;
  }
}

}  // namespace

Filler Filler::constant(double value) {
  return {.type = Type::Constant, .value = value};
}

Filler Filler::uniform(double min, double max) {
  return {.type = Type::Uniform, .min = min, .max = max};
}

Filler Filler::gaussian(double mean, double std, Dim sparse) {
  return {.type = Type::Gaussian, .mean = mean, .std = std, .sparse = sparse};
}

Filler Filler::positive_unitball() {
  return {.type = Type::PositiveUnitball};
}

Filler Filler::xavier(VarianceNorm norm) {
  return {.type = Type::Xavier, .variance_norm = norm};
}

Filler Filler::msra(VarianceNorm norm) {
  return {.type = Type::Msra, .variance_norm = norm};
}

Filler Filler::bilinear() {
  return {.type = Type::Bilinear};
}

std::string to_text(const Filler& filler) {
  const auto norm = [&](const char* name) {
    switch (filler.variance_norm) {
      case VarianceNorm::FanIn: return fmt::format("Filler::{}()", name);
      case VarianceNorm::FanOut: return fmt::format("Filler::{}(VarianceNorm::FanOut)", name);
      case VarianceNorm::Average: return fmt::format("Filler::{}(VarianceNorm::Average)", name);
    }
    return std::string();
  };
  switch (filler.type) {
    case Filler::Type::Constant: return fmt::format("Filler::constant({})", filler.value);
    case Filler::Type::Uniform: return fmt::format("Filler::uniform({}, {})", filler.min, filler.max);
    case Filler::Type::Gaussian:
      return filler.sparse < 0 ? fmt::format("Filler::gaussian({}, {})", filler.mean, filler.std)
                               : fmt::format("Filler::gaussian({}, {}, {})", filler.mean, filler.std, filler.sparse);
    case Filler::Type::PositiveUnitball: return "Filler::positive_unitball()";
    case Filler::Type::Xavier: return norm("xavier");
    case Filler::Type::Msra: return norm("msra");
    case Filler::Type::Bilinear: return "Filler::bilinear()";
  }
  return {};
}

void fill(const Filler& filler, Tensor& parameter, Random& random) {
  const Shape& shape = parameter.shape();
  if (filler.type == Filler::Type::Bilinear && (shape.size() != 4 || shape[2] != shape[3]))
    refuse(filler, shape, "it fills square kernels [N, C, K, K]");
  if (filler.type == Filler::Type::Gaussian && filler.sparse > first_dim(shape))
    refuse(filler, shape, fmt::format("sparse is at most the number of outputs, {}", first_dim(shape)));
  if (shape.count() == 0) return;
  switch (parameter.dtype()) {
    case DType::F32: return fill_values(filler, shape, parameter.span<float>(), random);
    case DType::F64: return fill_values(filler, shape, parameter.span<double>(), random);
    case DType::U8:
    case DType::I32:
    case DType::BF16: break;
  }
  throw DTypeError(fmt::format("a filler fills f32 or f64, not {}", to_string(parameter.dtype())));
}

}  // namespace sparknet
