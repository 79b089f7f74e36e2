#include "sparknet/layers/rnn.h"

#include "recurrent_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam rnn(RecurrentOptions options, bool has_static = false) {
  std::vector<std::string> bottoms{"x", "cont"};
  if (has_static) bottoms.push_back("static");
  if (options.expose_hidden) bottoms.push_back("h0");
  return RNNLayer{"rnn", AnyInputs(bottoms), options};
}

/// The parameters of a case, in their order.
std::vector<Tensor> params_of(const RecurrentCase& c) {
  std::vector<Tensor> params{noise({c.outputs, c.inputs}, 11) * 0.4, noise({c.outputs}, 12)};
  if (c.statics) params.push_back(noise({c.outputs, c.statics}, 13) * 0.4);
  params.push_back(noise({c.outputs, c.outputs}, 14) * 0.3);
  params.push_back(noise({c.outputs, c.outputs}, 15) * 0.3);
  params.push_back(noise({c.outputs}, 16));
  return params;
}

/// One number after the other; h [N, D] is the state before and then after.
Tensor naive(
    const RecurrentCase& k, const Tensor& x, const Tensor& cont, const Tensor& statics,
    const std::vector<Tensor>& params, Tensor& h) {
  const std::size_t w_hh = k.statics ? 3 : 2;
  Tensor top({k.steps, k.batch, k.outputs}, DType::F64);
  for (Dim t = 0; t < k.steps; ++t)
    for (Dim n = 0; n < k.batch; ++n) {
      std::vector<double> before(static_cast<std::size_t>(k.outputs));
      for (Dim d = 0; d < k.outputs; ++d)
        before[static_cast<std::size_t>(d)] = cont.get<double>(t, n) * h.get<double>(n, d);
      for (Dim d = 0; d < k.outputs; ++d) {
        double sum = product(params[0], d, at(x, (t * k.batch + n) * k.inputs)) + params[1].get<double>(d);
        if (k.statics) sum += product(params[2], d, at(statics, n * k.statics));
        h.set<double>(std::tanh(sum + product(params[w_hh], d, before.data())), n, d);
      }
      for (Dim d = 0; d < k.outputs; ++d)
        top.set<double>(
            std::tanh(product(params[w_hh + 1], d, at(h, n * k.outputs)) + params[w_hh + 2].get<double>(d)),
            t,
            n,
            d);
    }
  return top;
}

}  // namespace

TEST_CASE("RNNLayer: description") {
  check_description<RNNLayer>();
  CHECK(rnn({.num_output = 5}) == rnn({.num_output = 5, .expose_hidden = false}));
  CHECK(rnn({.num_output = 5}) != rnn({.num_output = 6}));
  CHECK(rnn({.num_output = 5, .expose_hidden = true}).options_text() == "{.num_output = 5, .expose_hidden = true}");
  CHECK(rnn({.num_output = 5}).tops() == std::vector<std::string>{"rnn"});
  CHECK(rnn({.num_output = 5, .expose_hidden = true}).tops() == std::vector<std::string>{"rnn", "rnn_h"});
}

TEST_CASE("RNNLayer: shapes") {
  CHECK(rnn({.num_output = 5}).infer(std::vector<Shape>{{7, 3, 4}, {7, 3}}) == std::vector<Shape>{{7, 3, 5}});
  CHECK(
      rnn({.num_output = 5, .expose_hidden = true}, true)
          .infer(std::vector<Shape>{{7, 3, 4}, {7, 3}, {3, 2, 2}, {1, 3, 5}}) ==
      std::vector<Shape>{{7, 3, 5}, {1, 3, 5}});
}

TEST_CASE("RNNLayer: parameters") {
  const SoloLayer solo(
      rnn({.num_output = 5, .lr_mult = {1, 2}, .decay_mult = {1, 0}}, true),
      {{7, 3, 2, 4}, {7, 3}, {3, 9}},
      {});
  const auto& params = solo.setup().params;
  const std::vector<std::string> names{"W_xh", "b_h", "W_xh_static", "W_hh", "W_ho", "b_o"};
  const std::vector<Shape> shapes{{5, 8}, {5}, {5, 9}, {5, 5}, {5, 5}, {5}};
  REQUIRE(params.size() == names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    const bool bias = shapes[i].size() == 1;
    CHECK(params[i].name == names[i]);
    CHECK(params[i].shape == shapes[i]);
    CHECK(params[i].filler == (bias ? Filler::constant(0) : Filler::xavier()));
    CHECK(params[i].lr_mult == (bias ? 2 : 1));
    CHECK(params[i].decay_mult == (bias ? 0 : 1));
  }
  CHECK(solo.setup().dead_bottoms == std::vector<std::size_t>{1});
  CHECK(SoloLayer(rnn({.num_output = 5}), {{7, 3, 4}, {7, 3}}, {}).setup().params.size() == 5);
}

TEST_CASE("RNNLayer: computes what loops over single numbers do, and goes on from pass to pass") {
  for (const RecurrentCase& k : recurrent_cases)
    for (const DType dtype : {DType::F32, DType::F64}) {
      CAPTURE(k.outputs);
      const double tolerance = dtype == DType::F32 ? 1e-5 : 1e-11;
      const std::vector<Tensor> params = params_of(k);
      const Tensor statics = noise({k.batch, std::max<Dim>(k.statics, 1)}, 3);
      std::vector<Tensor> bottoms{noise({k.steps, k.batch, k.inputs}), cont_of(k.steps, k.batch, false)};
      if (k.statics) bottoms.push_back(statics);
      Tensor h({k.batch, k.outputs}, DType::F64);
      SoloLayer solo =
          ran(rnn({.num_output = k.outputs}, k.statics > 0), bottoms, params, {.dtype = dtype, .threads = k.threads});
      for (int pass = 0; pass < 3; ++pass) {
        if (pass > 0) {
          bottoms[0] = noise(bottoms[0].shape(), 20 + static_cast<std::uint64_t>(pass));
          solo.io().bottoms[0].copy_from(bottoms[0].cast(dtype));
          solo.forward();
        }
        const Tensor expected = naive(k, bottoms[0], bottoms[1], statics, params, h);
        CHECK(equal(solo.io().top().cast(DType::F64), expected, tolerance));
      }
    }
}

TEST_CASE("RNNLayer: exposed state") {
  for (const RecurrentCase& k : recurrent_cases) {
    const std::vector<Tensor> params = params_of(k);
    const Tensor statics = noise({k.batch, std::max<Dim>(k.statics, 1)}, 3);
    Tensor h = noise({k.batch, k.outputs}, 5);
    std::vector<Tensor> bottoms{noise({k.steps, k.batch, k.inputs}), cont_of(k.steps, k.batch, false)};
    if (k.statics) bottoms.push_back(statics);
    bottoms.push_back(h.reshape({1, k.batch, k.outputs}).copy());
    SoloLayer solo = ran(rnn({.num_output = k.outputs, .expose_hidden = true}, k.statics > 0), bottoms, params);
    const Tensor expected = naive(k, bottoms[0], bottoms[1], statics, params, h);
    check_equal(solo.io().top(0), expected, 1e-11);
    check_equal(solo.io().top(1).reshape(h.shape()), h, 1e-11);
    const Tensor first = solo.io().top(0).copy();
    solo.forward();  // nothing is kept
    CHECK(solo.io().top(0) == first);
  }
}

TEST_CASE("RNNLayer: what was kept is a constant to the next pass") {
  const std::vector<Tensor> params = params_of({4, 5, 3, 6});
  const Tensor x = noise({4, 5, 3}), cont = cont_of(4, 5, false), dy = noise({4, 5, 6}, 9);
  SoloLayer kept = ran(rnn({.num_output = 6}), {x, cont}, params);
  const LayerParam layer = rnn({.num_output = 6, .expose_hidden = true});
  SoloLayer first = ran(layer, {x, cont, Tensor({1, 5, 6}, DType::F64)}, params);
  SoloLayer exposed = ran(layer, {x, cont, first.io().top(1)}, params);
  kept.forward();
  CHECK(kept.io().top(0) == exposed.io().top(0));
  kept.io().top_diff(0).copy_from(dy);
  exposed.io().top_diff(0).copy_from(dy);
  kept.backward();
  exposed.backward();
  CHECK(kept.io().bottom_diff(0) == exposed.io().bottom_diff(0));
  for (std::size_t p = 0; p < params.size(); ++p) CHECK(kept.io().param_diff(p) == exposed.io().param_diff(p));
}

TEST_CASE("RNNLayer: gradients") {
  for (const RecurrentCase& k : {RecurrentCase{1, 2, 3, 2}, {4, 5, 3, 4}, {3, 2, 5, 3}})
    for (const bool has_static : {false, true})
      for (const bool expose : {false, true}) {
        std::vector<CheckInput> bottoms{Shape{k.steps, k.batch, k.inputs}, cont_of(k.steps, k.batch, !expose)};
        if (has_static) bottoms.emplace_back(Shape{k.batch, 3});
        if (expose) bottoms.emplace_back(Shape{1, k.batch, k.outputs});
        check_gradients_of(rnn({.num_output = k.outputs, .expose_hidden = expose}, has_static), bottoms);
      }
  check_gradients_of(rnn({.num_output = 9}), {Shape{3, 20, 2, 2}, cont_of(3, 20, true)}, {.threads = 2});
  for (const Multipliers lr_mult : {Multipliers{0, 1}, Multipliers{1, 0}, Multipliers{0, 0}})
    check_gradients_of(
        rnn({.num_output = 3, .lr_mult = lr_mult}, true),
        {Shape{3, 2, 4}, cont_of(3, 2, true), Shape{2, 2}});
}

TEST_CASE("RNNLayer: messages") {
  const LayerParam layer = rnn({.num_output = 5}), exposed = rnn({.num_output = 5, .expose_hidden = true});
  CHECK(refusal(rnn({.num_output = -2}), {{7, 3, 4}, {7, 3}}) == "option .num_output must be positive, not -2");
  CHECK(
      refusal(exposed, {{7, 3, 4}, {7, 3}}) ==
      "takes x, cont and, if wanted, a static input, h_0, which are 3 or 4 inputs, not 2");
  CHECK(
      refusal(layer, {{7, 3, 4}, {7, 3, 1}}) ==
      "expects cont [T, N], here [7, 3], because x is [7, 3, 4]; it is [7, 3, 1]");
  CHECK(
      refusal(exposed, {{7, 3, 4}, {7, 3}, {1, 3, 4}}) ==
      "expects h_0 [1, N, num_output], here [1, 3, 5]; it is [1, 3, 4]");
}
