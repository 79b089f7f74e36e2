#pragma once

// What the tests of layers share that move elements and compute nothing.

#include "layer_test.h"
#include "sparknet/layers/eltwise.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/softmax_with_loss.h"
#include "sparknet/net.h"
#include "tests/count_allocations.h"

namespace sparknet::test {

/// 0, 1, 2, ... in this shape.
inline Tensor counting(const Shape& shape, DType dtype = DType::F64) {
  std::vector<double> values(static_cast<std::size_t>(shape.count()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i);
  return Tensor::from<double>(shape, values).cast(dtype);
}

/// The gradient of the first bottom where that of the top is this.
inline Tensor gradient_of(const LayerParam& layer, const std::vector<Tensor>& bottoms, const Tensor& top_diff) {
  SoloLayer solo = ran(layer, bottoms, {}, {.dtype = top_diff.dtype()});
  solo.io().top_diff().copy_from(top_diff);
  solo.backward();
  return solo.io().bottom_diff();
}

/// Whether the layer may run in the memory of its first bottom. Of these layers none reads it in backward.
inline bool runs_in_place(const LayerParam& layer, const std::vector<Shape>& bottoms) {
  const SoloLayer solo(layer, bottoms, {});
  CHECK_FALSE(solo.setup().reads_bottoms);
  CHECK_FALSE(solo.setup().reads_tops);
  return solo.setup().in_place_bottoms == 1;
}

/// A layer for an input [4, 12] called "x", between two that learn.
inline NetParam net_around(const LayerParam& layer) {
  NetParam net(
      "net",
      RDDLayer{"data", {4, 6}},
      RDDLayer{"label", {4}},
      InnerProductLayer{"x", {"data"}, {.num_output = 12}});
  net.add(layer).add(InnerProductLayer{"scores", {layer.tops().at(0)}, {.num_output = 3}});
  return net.add(SoftmaxWithLoss{"loss", {"scores", "label"}});
}

/// The same for a layer of two tops, "a" and "b", which a layer each reads.
inline NetParam net_around_two_tops(const LayerParam& layer) {
  NetParam net(
      "net",
      RDDLayer{"data", {4, 6}},
      RDDLayer{"label", {4}},
      InnerProductLayer{"x", {"data"}, {.num_output = 12}});
  net.add(layer).add(InnerProductLayer{"of_a", {"a"}, {.num_output = 3}});
  net.add(InnerProductLayer{"of_b", {"b"}, {.num_output = 3}}).add(EltwiseLayer{"scores", {"of_a", "of_b"}});
  return net.add(SoftmaxWithLoss{"loss", {"scores", "label"}});
}

/// The gradients of a net that may give the memory of what the layer does not read to others.
inline void check_gradients_within_net(const NetParam& param) {
  const GradientReport report = check_gradients(param, {{"label", numbers({4}, {0, 2, 1, 2})}}, {.step = 1e-5});
  CHECK_MESSAGE(report.passed, report.text);
}

/// A layer allocates while it is set up and never again.
inline void check_allocates_nothing(const LayerParam& layer, const std::vector<Shape>& bottoms) {
  SoloLayer solo(layer, bottoms, {.dtype = DType::F32, .threads = 2});
  solo.forward(), solo.backward();  // the crew may still be starting, which a sanitizer allocates for
  const std::size_t before = allocations();
  solo.forward();
  solo.backward();
  CHECK(allocations() == before);
}

/// Whether the net gave the layer's top the memory of "x".
inline bool net_runs_in_place(const NetParam& param) {
  Net net(param, {.dtype = DType::F64, .threads = 1});
  net.set_input("data", noise({4, 6}));
  net.set_input("label", numbers({4}, {0, 2, 1, 2}).cast(DType::F64));
  net.forward();
  try {
    net.blob("x");
  } catch (const NetError& why) {
    return std::string(why.what()).find("runs in place") != std::string::npos;
  }
  return false;
}

}  // namespace sparknet::test
