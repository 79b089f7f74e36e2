#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sparknet/tensor.h"

namespace sparknet {

/// Where a parameter of a net lies in the one arena that holds them all.
struct ParamInfo {
  /// The layer's name and the parameter's name in it: "conv1" and "weights".
  std::string layer, name;
  Shape shape;
  /// In elements from the start of the arena. Parameters begin on 64-byte borders; the gaps hold zeros.
  Dim offset = 0;
  double lr_mult = 1, decay_mult = 1;

  /// "conv1.weights"
  std::string full_name() const { return layer + "." + name; }
  bool operator==(const ParamInfo&) const = default;
};

/// The learned parameters of a net as a value: one buffer, with a name and a shape for each part. SparkNet's
/// WeightCollection. Copying copies the numbers.
class WeightCollection {
 public:
  WeightCollection() = default;
  /// Zeros of the given layout.
  WeightCollection(std::shared_ptr<const std::vector<ParamInfo>> layout, Dim arena_count, DType dtype);
  WeightCollection(const WeightCollection& other);
  WeightCollection(WeightCollection&&) noexcept = default;
  WeightCollection& operator=(WeightCollection other) noexcept;

  const std::vector<ParamInfo>& layout() const { return *layout_; }
  DType dtype() const { return arena_.dtype(); }
  /// All parameters, one after another, as one dense tensor.
  const Tensor& arena() const { return arena_; }
  Tensor& arena() { return arena_; }

  /// The parameters of a layer in their order; a view, no copy. Throws Error for a layer that has none here.
  std::vector<Tensor> operator[](std::string_view layer) const;
  /// Parameter number `index` of the layout; a view.
  Tensor tensor(std::size_t index) const;

  /// Element by element. Throws ShapeError where the layouts differ, naming the first parameter that does.
  WeightCollection& add(const WeightCollection& other);
  WeightCollection& divide(double divisor);

  /// True where the layouts agree and no element differs by more than `tolerance`.
  friend bool equal(const WeightCollection& a, const WeightCollection& b, double tolerance);
  friend bool operator==(const WeightCollection& a, const WeightCollection& b) { return equal(a, b, 0); }

 private:
  std::shared_ptr<const std::vector<ParamInfo>> layout_ = std::make_shared<const std::vector<ParamInfo>>();
  Tensor arena_;
};

bool equal(const WeightCollection& a, const WeightCollection& b, double tolerance = 0);

/// The mean of one or more collections of the same layout.
WeightCollection mean(std::span<const WeightCollection> collections);

}  // namespace sparknet
