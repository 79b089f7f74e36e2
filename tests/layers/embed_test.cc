#include "sparknet/layers/embed.h"

#include <cmath>

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam embed(EmbedOptions options) {
  return EmbedLayer{"embedding", {"words"}, std::move(options)};
}

const Tensor weights = numbers({3, 2}, {1, 2, 3, 4, 5, 6}), bias = numbers({2}, {10, 20});

std::string forward_error(const Tensor& indices, DType dtype = DType::F64) {
  try {
    ran(embed({.num_output = 2, .input_dim = 3}), {indices}, {weights, bias}, {.dtype = dtype});
  } catch (const NetError& error) {
    const std::string text = error.what();
    const std::size_t begin = text.find("): ") + 3;
    return text.substr(begin, text.find('\n') - begin);
  }
  return "";
}

}  // namespace

TEST_CASE("EmbedLayer: description") {
  check_description<EmbedLayer>();
  CHECK(embed({.num_output = 10, .input_dim = 5}) == embed({.num_output = 10, .input_dim = 5, .bias = true}));
  CHECK(embed({.num_output = 10, .input_dim = 5}) != embed({.num_output = 10, .input_dim = 6}));
  CHECK(
      embed({.num_output = 10, .input_dim = 5, .bias = false, .weight_filler = Filler::uniform(-0.08, 0.08)})
          .options_text() ==
      "{.num_output = 10, .input_dim = 5, .bias = false, .weight_filler = Filler::uniform(-0.08, 0.08)}");
}

TEST_CASE("EmbedLayer: one row for each index") {
  CHECK(shape_of(embed({.num_output = 7, .input_dim = 5}), {{64}}) == Shape{64, 7});
  CHECK(shape_of(embed({.num_output = 7, .input_dim = 5}), {{20, 64}}) == Shape{20, 64, 7});
  CHECK(shape_of(embed({.num_output = 7, .input_dim = 5}), {{64, 1}}) == Shape{64, 1, 7});
}

TEST_CASE("EmbedLayer: parameters") {
  const SoloLayer solo(embed({.num_output = 6, .input_dim = 9, .lr_mult = {1, 2}, .decay_mult = {1, 0}}), {{2, 3}}, {});
  const auto& params = solo.setup().params;
  REQUIRE(params.size() == 2);
  CHECK(params[0].name == "weights");
  CHECK(params[0].shape == Shape{9, 6});
  CHECK(params[0].filler == Filler::xavier());
  CHECK(params[1].name == "bias");
  CHECK(params[1].shape == Shape{6});
  CHECK(params[1].lr_mult == 2);
  CHECK(params[1].decay_mult == 0);
  CHECK(solo.setup().dead_bottoms == std::vector<std::size_t>{0});
}

TEST_CASE("EmbedLayer: a hand-made case") {
  const Tensor indices = numbers({2, 2}, {2, 0, 1, 2});
  for (const DType dtype : {DType::F32, DType::F64}) {
    check_equal(
        top_of(embed({.num_output = 2, .input_dim = 3}), {indices}, {weights, bias}, {.dtype = dtype}),
        numbers({2, 2, 2}, {15, 26, 11, 22, 13, 24, 15, 26}).cast(dtype));
    check_equal(
        top_of(embed({.num_output = 2, .input_dim = 3, .bias = false}), {indices}, {weights}, {.dtype = dtype}),
        numbers({2, 2, 2}, {5, 6, 1, 2, 3, 4, 5, 6}).cast(dtype));
  }
}

TEST_CASE("EmbedLayer: the gradients of an index that comes again are added") {
  SoloLayer solo = ran(embed({.num_output = 2, .input_dim = 3}), {numbers({3}, {2, 0, 2})}, {weights, bias});
  solo.io().top_diff().copy_from(numbers({3, 2}, {1, 2, 3, 4, 5, 6}));
  solo.io().param_diff(0).fill(NAN);
  solo.io().param_diff(1).fill(NAN);
  solo.backward();
  check_equal(solo.io().param_diff(0), numbers({3, 2}, {3, 4, 0, 0, 6, 8}));
  check_equal(solo.io().param_diff(1), numbers({2}, {9, 12}));
}

TEST_CASE("EmbedLayer: several threads compute what one computes") {
  constexpr Dim count = 700, things = 50, outputs = 131;
  Tensor indices({count}, DType::F64);
  for (std::size_t i = 0; i < count; ++i) indices.span<double>()[i] = static_cast<double>(i * i % things);
  const auto run = [&](int threads) {
    SoloLayer solo =
        ran(embed({.num_output = outputs, .input_dim = things}),
            {indices},
            {noise({things, outputs}), noise({outputs}, 2)},
            {.threads = threads});
    solo.io().top_diff().copy_from(noise({count, outputs}, 3));
    solo.backward();
    return solo;
  };
  SoloLayer one = run(1), three = run(3);
  CHECK(one.io().top() == three.io().top());
  CHECK(one.io().param_diff(0) == three.io().param_diff(0));
  CHECK(one.io().param_diff(1) == three.io().param_diff(1));
}

TEST_CASE("EmbedLayer: gradients") {
  const Tensor indices = numbers({2, 3}, {4, 0, 1, 4, 4, 2});
  for (const bool with_bias : {true, false})
    check_gradients_of(embed({.num_output = 3, .input_dim = 5, .bias = with_bias}), {indices});
  for (const Multipliers lr_mult : {Multipliers{0, 1}, Multipliers{1, 0}, Multipliers{0, 0}})
    check_gradients_of(embed({.num_output = 17, .input_dim = 6, .lr_mult = lr_mult}), {indices});
}

TEST_CASE("EmbedLayer: messages") {
  CHECK(refusal(embed({.num_output = 0, .input_dim = 3}), {{4}}) == "option .num_output is required");
  CHECK(refusal(embed({.num_output = -1, .input_dim = 3}), {{4}}) == "option .num_output must be positive, not -1");
  CHECK(refusal(embed({.num_output = 2}), {{4}}) == "option .input_dim is required");
  CHECK(refusal(embed({.num_output = 2, .input_dim = -3}), {{4}}) == "option .input_dim must be positive, not -3");
  CHECK(
      refusal(embed({.num_output = 2, .input_dim = 3}), {{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}}) ==
      "its input has 12 dimensions and may have at most 11");
  CHECK(forward_error(numbers({4}, {0, 1, 3, 0})) == "the index of example 2 is 3 and option .input_dim is 3");
  CHECK(forward_error(numbers({4}, {0, -1, 3, 0})) == "the index of example 1 is -1 and option .input_dim is 3");
  CHECK(forward_error(numbers({4, 1}, {0, 1, 2, 0.5})) == "the index of example 3 is 0.5 and option .input_dim is 3");
  CHECK(
      forward_error(numbers({2, 2}, {0, 1, 2, NAN}), DType::F32) ==
      "the index of example 1 at position 1 is nan and option .input_dim is 3");
}
