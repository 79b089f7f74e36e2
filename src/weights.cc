#include "sparknet/weights.h"

#include <fmt/format.h>

#include <algorithm>

#include "src/layout.h"

namespace sparknet {
namespace {

/// Where the parts lie and how they learn does not matter here, only what they are.
bool same_part(const ParamInfo& a, const ParamInfo& b) {
  return a.layer == b.layer && a.name == b.name && a.shape == b.shape;
}

}  // namespace

void detail::require_same_layout(const std::vector<ParamInfo>& x, const std::vector<ParamInfo>& y) {
  if (x.size() != y.size())
    throw ShapeError(fmt::format("one weight collection has {} parameters and the other {}", x.size(), y.size()));
  for (std::size_t i = 0; i < x.size(); ++i)
    if (!same_part(x[i], y[i]))
      throw ShapeError(fmt::format(
          "parameter {} is \"{}\" {} in one weight collection and \"{}\" {} in the other",
          i,
          x[i].full_name(),
          to_string(x[i].shape),
          y[i].full_name(),
          to_string(y[i].shape)));
}

WeightCollection::WeightCollection(std::shared_ptr<const std::vector<ParamInfo>> layout, Dim arena_count, DType dtype)
    : layout_(std::move(layout)), arena_(Shape(arena_count), dtype) {}

WeightCollection::WeightCollection(const WeightCollection& other)
    : layout_(other.layout_), arena_(other.arena_.defined() ? other.arena_.copy() : Tensor()) {}

WeightCollection& WeightCollection::operator=(WeightCollection other) noexcept {
  layout_ = std::move(other.layout_);
  arena_ = std::move(other.arena_);
  return *this;
}

Tensor WeightCollection::tensor(std::size_t index) const {
  const ParamInfo& info = (*layout_)[index];
  return arena_.subarray({info.offset}, {info.offset + info.shape.count()}).reshape(info.shape);
}

std::vector<Tensor> WeightCollection::operator[](std::string_view layer) const {
  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < layout_->size(); ++i)
    if ((*layout_)[i].layer == layer) tensors.push_back(tensor(i));
  if (tensors.empty()) throw Error(fmt::format("no parameters of a layer \"{}\" are in this weight collection", layer));
  return tensors;
}

WeightCollection& WeightCollection::add(const WeightCollection& other) {
  detail::require_same_layout(layout(), other.layout());
  for (std::size_t i = 0; i < layout_->size(); ++i) tensor(i).add(other.tensor(i));
  return *this;
}

WeightCollection& WeightCollection::divide(double divisor) {
  arena_.divide(divisor);
  return *this;
}

bool equal(const WeightCollection& a, const WeightCollection& b, double tolerance) {
  const auto &x = a.layout(), &y = b.layout();
  if (!std::equal(x.begin(), x.end(), y.begin(), y.end(), same_part)) return false;
  for (std::size_t i = 0; i < x.size(); ++i)
    if (!equal(a.tensor(i), b.tensor(i), tolerance)) return false;
  return true;
}

WeightCollection mean(std::span<const WeightCollection> collections) {
  if (collections.empty()) throw Error("the mean of no weight collections is not defined");
  WeightCollection sum = collections[0];
  for (const WeightCollection& other : collections.subspan(1)) sum.add(other);
  return sum.divide(static_cast<double>(collections.size()));
}

}  // namespace sparknet
