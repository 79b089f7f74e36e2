#include "sparknet/layers/lstm.h"

#include "recurrent_test.h"
#include "sparknet/sparknet.h"
#include "tests/count_allocations.h"
#include "tests/temp_dir.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam lstm(RecurrentOptions options, bool has_static = false) {
  std::vector<std::string> bottoms{"x", "cont"};
  if (has_static) bottoms.push_back("static");
  if (options.expose_hidden) bottoms.insert(bottoms.end(), {"h0", "c0"});
  return LSTMLayer{"lstm", AnyInputs(bottoms), options};
}

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

/// The parameters of a case, in their order.
std::vector<Tensor> params_of(const RecurrentCase& c) {
  std::vector<Tensor> params{noise({4 * c.outputs, c.inputs}, 11) * 0.4, noise({4 * c.outputs}, 12)};
  if (c.statics) params.push_back(noise({4 * c.outputs, c.statics}, 13) * 0.4);
  params.push_back(noise({4 * c.outputs, c.outputs}, 14) * 0.3);
  return params;
}

/// One number after the other; h and c [N, D] are the state before and then after.
Tensor naive(
    const RecurrentCase& k, const Tensor& x, const Tensor& cont, const Tensor& statics,
    const std::vector<Tensor>& params, Tensor& h, Tensor& c) {
  Tensor top({k.steps, k.batch, k.outputs}, DType::F64);
  for (Dim t = 0; t < k.steps; ++t)
    for (Dim n = 0; n < k.batch; ++n) {
      const double keep = cont.get<double>(t, n);
      std::vector<double> before(static_cast<std::size_t>(k.outputs));
      for (Dim d = 0; d < k.outputs; ++d) before[static_cast<std::size_t>(d)] = keep * h.get<double>(n, d);
      for (Dim d = 0; d < k.outputs; ++d) {
        const auto gate = [&](Dim number) {
          const Dim row = number * k.outputs + d;
          double sum = product(params[0], row, at(x, (t * k.batch + n) * k.inputs)) + params[1].get<double>(row);
          if (k.statics) sum += product(params[2], row, at(statics, n * k.statics));
          return sum + product(params.back(), row, before.data());
        };
        const double cell = keep * sigmoid(gate(1)) * c.get<double>(n, d) + sigmoid(gate(0)) * std::tanh(gate(3));
        c.set<double>(cell, n, d);
        h.set<double>(sigmoid(gate(2)) * std::tanh(cell), n, d);
        top.set<double>(h.get<double>(n, d), t, n, d);
      }
    }
  return top;
}

}  // namespace

TEST_CASE("LSTMLayer: description") {
  check_description<LSTMLayer>();
  CHECK(lstm({.num_output = 5}) == lstm({.num_output = 5, .expose_hidden = false}));
  CHECK(lstm({.num_output = 5}) != lstm({.num_output = 6}));
  CHECK(
      lstm({.num_output = 5, .weight_filler = Filler::uniform(-0.08, 0.08), .expose_hidden = true, .lr_mult = {1, 2}})
          .options_text() ==
      "{.num_output = 5, .weight_filler = Filler::uniform(-0.08, 0.08), .expose_hidden = true, .lr_mult = {1, 2}}");
  CHECK(lstm({.num_output = 5}).tops() == std::vector<std::string>{"lstm"});
  CHECK(lstm({.num_output = 5, .expose_hidden = true}).tops() == std::vector<std::string>{"lstm", "lstm_h", "lstm_c"});
}

TEST_CASE("LSTMLayer: shapes") {
  const std::vector<Shape> exposed{{7, 3, 5}, {1, 3, 5}, {1, 3, 5}};
  CHECK(lstm({.num_output = 5}).infer(std::vector<Shape>{{7, 3, 4}, {7, 3}}) == std::vector<Shape>{{7, 3, 5}});
  CHECK(
      lstm({.num_output = 5}, true).infer(std::vector<Shape>{{7, 3, 2, 2}, {7, 3}, {3, 9}}) ==
      std::vector<Shape>{{7, 3, 5}});
  CHECK(
      lstm({.num_output = 5, .expose_hidden = true})
          .infer(std::vector<Shape>{{7, 3, 4}, {7, 3}, {1, 3, 5}, {1, 3, 5}}) == exposed);
  CHECK(
      lstm({.num_output = 5, .expose_hidden = true}, true)
          .infer(std::vector<Shape>{{7, 3, 4}, {7, 3}, {3, 2, 2}, {1, 3, 5}, {1, 3, 5}}) == exposed);
}

TEST_CASE("LSTMLayer: parameters") {
  const SoloLayer solo(
      lstm({.num_output = 5, .lr_mult = {1, 2}, .decay_mult = {1, 0}}, true),
      {{7, 3, 2, 4}, {7, 3}, {3, 9}},
      {});
  const auto& params = solo.setup().params;
  REQUIRE(params.size() == 4);
  CHECK(params[0].name == "W_xc");
  CHECK(params[0].shape == Shape{20, 8});
  CHECK(params[0].filler == Filler::xavier());
  CHECK(params[1].name == "b_c");
  CHECK(params[1].shape == Shape{20});
  CHECK(params[1].filler == Filler::constant(0));
  CHECK(params[1].lr_mult == 2);
  CHECK(params[1].decay_mult == 0);
  CHECK(params[2].name == "W_xc_static");
  CHECK(params[2].shape == Shape{20, 9});
  CHECK(params[3].name == "W_hc");
  CHECK(params[3].shape == Shape{20, 5});
  CHECK(solo.setup().dead_bottoms == std::vector<std::size_t>{1});
  const SoloLayer plain(lstm({.num_output = 5}), {{7, 3, 4}, {7, 3}}, {});
  REQUIRE(plain.setup().params.size() == 3);
  CHECK(plain.setup().params[2].name == "W_hc");
}

TEST_CASE("LSTMLayer: computes what loops over single numbers do, and goes on from pass to pass") {
  for (const RecurrentCase& k : recurrent_cases)
    for (const DType dtype : {DType::F32, DType::F64}) {
      CAPTURE(k.outputs);
      const double tolerance = dtype == DType::F32 ? 1e-5 : 1e-11;
      const std::vector<Tensor> params = params_of(k);
      const Tensor statics = noise({k.batch, std::max<Dim>(k.statics, 1)}, 3);
      std::vector<Tensor> bottoms{noise({k.steps, k.batch, k.inputs}), cont_of(k.steps, k.batch, false)};
      if (k.statics) bottoms.push_back(statics);
      Tensor h({k.batch, k.outputs}, DType::F64), c({k.batch, k.outputs}, DType::F64);
      SoloLayer solo =
          ran(lstm({.num_output = k.outputs}, k.statics > 0), bottoms, params, {.dtype = dtype, .threads = k.threads});
      for (int pass = 0; pass < 3; ++pass) {
        if (pass > 0) {
          bottoms[0] = noise(bottoms[0].shape(), 20 + static_cast<std::uint64_t>(pass));
          solo.io().bottoms[0].copy_from(bottoms[0].cast(dtype));
          solo.forward();
        }
        const Tensor expected = naive(k, bottoms[0], bottoms[1], statics, params, h, c);
        CHECK(equal(solo.io().top().cast(DType::F64), expected, tolerance));
      }
    }
}

TEST_CASE("LSTMLayer: exposed states") {
  for (const RecurrentCase& k : recurrent_cases) {
    const std::vector<Tensor> params = params_of(k);
    const Tensor statics = noise({k.batch, std::max<Dim>(k.statics, 1)}, 3);
    Tensor h = noise({k.batch, k.outputs}, 5), c = noise({k.batch, k.outputs}, 6);
    std::vector<Tensor> bottoms{noise({k.steps, k.batch, k.inputs}), cont_of(k.steps, k.batch, false)};
    if (k.statics) bottoms.push_back(statics);
    bottoms.push_back(h.reshape({1, k.batch, k.outputs}).copy());
    bottoms.push_back(c.reshape({1, k.batch, k.outputs}).copy());
    SoloLayer solo =
        ran(lstm({.num_output = k.outputs, .expose_hidden = true}, k.statics > 0),
            bottoms,
            params,
            {.threads = k.threads});
    const Tensor expected = naive(k, bottoms[0], bottoms[1], statics, params, h, c);
    check_equal(solo.io().top(0), expected, 1e-11);
    check_equal(solo.io().top(1).reshape(h.shape()), h, 1e-11);
    check_equal(solo.io().top(2).reshape(c.shape()), c, 1e-11);
    const Tensor first = solo.io().top(0).copy();
    solo.forward();  // nothing is kept
    CHECK(solo.io().top(0) == first);
  }
}

TEST_CASE("LSTMLayer: what was kept is a constant to the next pass") {
  const RecurrentCase k{4, 5, 3, 6};
  const std::vector<Tensor> params = params_of(k);
  const Tensor x = noise({4, 5, 3}), cont = cont_of(4, 5, false), dy = noise({4, 5, 6}, 9);
  SoloLayer kept = ran(lstm({.num_output = 6}), {x, cont}, params);
  SoloLayer first =
      ran(lstm({.num_output = 6, .expose_hidden = true}),
          {x, cont, Tensor({1, 5, 6}, DType::F64), Tensor({1, 5, 6}, DType::F64)},
          params);
  SoloLayer exposed =
      ran(lstm({.num_output = 6, .expose_hidden = true}), {x, cont, first.io().top(1), first.io().top(2)}, params);
  kept.forward();
  CHECK(kept.io().top(0) == exposed.io().top(0));
  kept.io().top_diff(0).copy_from(dy);
  exposed.io().top_diff(0).copy_from(dy);
  kept.backward();
  exposed.backward();
  CHECK(kept.io().bottom_diff(0) == exposed.io().bottom_diff(0));
  for (std::size_t p = 0; p < params.size(); ++p) CHECK(kept.io().param_diff(p) == exposed.io().param_diff(p));
}

TEST_CASE("LSTMLayer: a state that is no number ends with its sequence") {
  const std::vector<Tensor> params = params_of({1, 1, 2, 3});
  SoloLayer solo = ran(lstm({.num_output = 3}), {numbers({1, 1, 2}, {NAN, 0}), numbers({1, 1}, {0})}, params);
  CHECK(std::isnan(solo.io().top().get<double>(0, 0, 0)));
  solo.io().bottoms[0].fill(1);
  solo.forward();
  check_equal(
      solo.io().top(),
      top_of(lstm({.num_output = 3}), {numbers({1, 1, 2}, {1, 1}), numbers({1, 1}, {0})}, params));
}

TEST_CASE("LSTMLayer: gradients") {
  for (const RecurrentCase& k : {RecurrentCase{1, 2, 3, 2}, {4, 5, 3, 4}, {3, 2, 5, 3}})
    for (const bool has_static : {false, true})
      for (const bool expose : {false, true}) {
        std::vector<CheckInput> bottoms{Shape{k.steps, k.batch, k.inputs}, cont_of(k.steps, k.batch, !expose)};
        if (has_static) bottoms.emplace_back(Shape{k.batch, 3});
        if (expose) bottoms.insert(bottoms.end(), 2, Shape{1, k.batch, k.outputs});
        check_gradients_of(lstm({.num_output = k.outputs, .expose_hidden = expose}, has_static), bottoms);
      }
  check_gradients_of(lstm({.num_output = 9}), {Shape{3, 20, 2, 2}, cont_of(3, 20, true)}, {.threads = 2});
  for (const Multipliers lr_mult : {Multipliers{0, 1}, Multipliers{1, 0}, Multipliers{0, 0}})
    check_gradients_of(
        lstm({.num_output = 3, .lr_mult = lr_mult}, true),
        {Shape{3, 2, 4}, cont_of(3, 2, true), Shape{2, 2}});
}

TEST_CASE("LSTMLayer: a unit for each step computes the same") {
  const Dim steps = 2, batch = 3, hidden = 4;
  const std::vector<Tensor> params = params_of({steps, batch, 5, hidden});
  const Tensor x = noise({steps, batch, 5}), cont = cont_of(steps, batch, true);
  const Tensor top = top_of(lstm({.num_output = hidden}), {x, cont}, params);
  Tensor h({1, batch, hidden}, DType::F64), c = h.copy();
  for (Dim t = 0; t < steps; ++t) {
    Tensor gates({1, batch, 4 * hidden}, DType::F64), keep({1, batch}, DType::F64);
    for (Dim n = 0; n < batch; ++n) {
      keep.set<double>(cont.get<double>(t, n), 0, n);
      for (Dim d = 0; d < hidden; ++d) h.set<double>(cont.get<double>(t, n) * h.get<double>(0, n, d), 0, n, d);
      for (Dim row = 0; row < 4 * hidden; ++row)
        gates.set<double>(
            product(params[0], row, at(x, (t * batch + n) * 5)) + params[1].get<double>(row) +
                product(params[2], row, at(h, n * hidden)),
            0,
            n,
            row);
    }
    SoloLayer unit = ran(LSTMUnitLayer{"unit", {"c", "gates", "cont"}}, {c, gates, keep});
    c = unit.io().top(0).copy();
    h = unit.io().top(1).copy();
    check_equal(top.slice(0, t).copy(), h.slice(0, 0).copy(), 1e-12);
  }
}

TEST_CASE("LSTMLayer: in a net") {
  const NetParam param(
      "net",
      RDDLayer{"words", {3, 4}},
      RDDLayer{"cont", {3, 4}},
      RDDLayer{"label", {3, 4}},
      EmbedLayer{"embedding", {"words"}, {.num_output = 6, .input_dim = 10, .bias = false}},
      LSTMLayer{"lstm", {"embedding", "cont"}, {.num_output = 5}},
      InnerProductLayer{"scores", {"lstm"}, {.num_output = 10, .axis = 2}},
      SoftmaxWithLoss{"loss", {"scores", "label"}, {.axis = 2}});
  const GradientReport report = check_gradients(
      param,
      {{"words", numbers({3, 4}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2})},
       {"label", numbers({3, 4}, {5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6})},
       {"cont", cont_of(3, 4, true)}});
  CHECK_MESSAGE(report.passed, report.text);
}

TEST_CASE("LSTMLayer: passes allocate nothing, and the same bits come out every time") {
  const auto train = [](int threads) {
    const NetParam param(
        "net",
        DummyDataLayer{"words", {.data_filler = {Filler::constant(3)}, .shape = {{6, 40}}}},
        DummyDataLayer{"cont", {.data_filler = {Filler::constant(1)}, .shape = {{6, 40}}}},
        DummyDataLayer{"label", {.data_filler = {Filler::constant(2)}, .shape = {{6, 40}}}},
        EmbedLayer{"embedding", {"words"}, {.num_output = 50, .input_dim = 10}},
        LSTMLayer{"lstm", {"embedding", "cont"}, {.num_output = 64}},
        RNNLayer{"rnn", {"lstm", "cont"}, {.num_output = 64}},
        InnerProductLayer{"scores", {"rnn"}, {.num_output = 10, .axis = 2, .transpose = true}},
        ArgMaxLayer{"best", {"scores"}, {.top_k = 3, .axis = 2}},
        SoftmaxWithLoss{"loss", {"scores", "label"}, {.axis = 2}});
    Net net(param, {.threads = threads});
    net.forward();
    net.backward();
    const std::size_t before = allocations();
    for (int i = 0; i < 3; ++i) {
      net.forward();
      net.backward();
    }
    CHECK(allocations() == before);
    return net.gradient_arena().copy();
  };
  for (const int threads : {1, 3}) CHECK(train(threads) == train(threads));
}

TEST_CASE("LSTMLayer: messages") {
  const LayerParam layer = lstm({.num_output = 5}), exposed = lstm({.num_output = 5, .expose_hidden = true});
  CHECK(refusal(lstm({.num_output = 0}), {{7, 3, 4}, {7, 3}}) == "option .num_output is required");
  CHECK(refusal(layer, {{7, 3, 4}}) == "takes x, cont and, if wanted, a static input, which are 2 or 3 inputs, not 1");
  CHECK(
      refusal(exposed, {{7, 3, 4}, {7, 3}}) ==
      "takes x, cont and, if wanted, a static input, h_0, c_0, which are 4 or 5 inputs, not 2");
  CHECK(refusal(layer, {{7}, {7}}) == "expects x [T, N, ...], which has 2 or more dimensions, not 1");
  CHECK(
      refusal(layer, {{7, 3, 4}, {3, 7}}) == "expects cont [T, N], here [7, 3], because x is [7, 3, 4]; it is [3, 7]");
  CHECK(
      refusal(layer, {{7, 3, 4}, {7, 3}, {7, 2}}) ==
      "expects a static input [N, ...] of 3 sequences, because x is [7, 3, 4]; it is [7, 2]");
  CHECK(
      refusal(exposed, {{7, 3, 4}, {7, 3}, {1, 3, 5}, {3, 5}}) ==
      "expects c_0 [1, N, num_output], here [1, 3, 5]; it is [3, 5]");
}

TEST_CASE("a recurrent net whose sequences begin with the pass goes on bit for bit from a snapshot") {
  const NetParam param(
      "net",
      RDDLayer{"x", {4, 3, 5}},
      RDDLayer{"cont", {4, 3}},
      RDDLayer{"wanted", {4, 3, 2}},
      LSTMLayer{"lstm", AnyInputs{"x", "cont"}, {.num_output = 6}},
      RNNLayer{"rnn", AnyInputs{"lstm", "cont"}, {.num_output = 2}},
      EuclideanLoss{"loss", {"rnn", "wanted"}});
  const auto solver_of = [&](bool begin) {
    Solver solver({.base_lr = 0.1, .momentum = 0.9}, param, {.dtype = DType::F64, .threads = 1});
    solver.net().set_input("x", noise({4, 3, 5}));
    solver.net().set_input("cont", cont_of(4, 3, begin));
    solver.net().set_input("wanted", noise({4, 3, 2}, 7));
    return solver;
  };
  const TempDir dir;
  for (const bool begin : {true, false}) {
    Solver run = solver_of(begin), again = solver_of(begin);
    run.step(3);
    run.snapshot(dir / "run.snap");
    run.step(3);
    again.restore(dir / "run.snap");
    again.step(3);
    CHECK((again.net().weights() == run.net().weights()) == begin);  // what the pass before left is in no snapshot
  }
}
