// Every layer, with every option off its default, comes back from a prototxt as it was.

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <utility>

#include "sparknet/caffe/prototxt.h"
#include "src/caffe/catalog.h"
#include "src/caffe/layers.h"

using namespace sparknet;
using namespace sparknet::caffe;

namespace {

template <class T>
T off(const T& usual) {
  if constexpr (is_optional<T>) {
    return off(typename T::value_type{});
  } else if constexpr (is_vector<T>) {
    using Element = typename T::value_type;
    return {off(Element{}), off(off(Element{}))};
  } else if constexpr (std::is_enum_v<T>) {
    return usual == T{} ? static_cast<T>(1) : T{};
  } else if constexpr (std::same_as<T, bool>) {
    return !usual;
  } else if constexpr (std::integral<T>) {
    return static_cast<T>(usual + 3);
  } else if constexpr (std::same_as<T, double>) {
    return usual == 0.1 ? 0.375 : 0.1;  // one that a float does not have
  } else if constexpr (std::same_as<T, std::string>) {
    return usual + "a \"name\"\n";
  } else if constexpr (std::same_as<T, Size2>) {
    return {usual.h + 1, usual.w + 2};
  } else if constexpr (std::same_as<T, Multipliers>) {
    return {0, 2.3};
  } else if constexpr (std::same_as<T, Shape>) {
    return usual == Shape(2, 3) ? Shape(4) : Shape(2, 3);
  } else {
    static_assert(std::same_as<T, Filler>);
    return {Filler::Type::Gaussian, 0.1, 0.2, 0.3, 0.4, 0.5, 6, VarianceNorm::Average};
  }
}

template <class L>
L plain() {
  std::vector<std::string> names = {"a", "b", "c"};
  if constexpr (requires { &L::bottom; }) {
    using Bottom = decltype(L::bottom);
    const std::size_t count = []<std::size_t N>(Inputs<N>*) { return N; }(static_cast<Bottom*>(nullptr));
    if (count != 0) names.resize(count);
    if constexpr (requires { &L::options; })
      return L{.name = "layer", .bottom = Bottom(names), .options = {}};
    else
      return L{.name = "layer", .bottom = Bottom(names)};
  } else if constexpr (requires { &L::options; }) {
    return L{.name = "layer", .options = {}};
  } else {
    return L{.name = "layer"};
  }
}

void check_round_trip(const LayerParam& layer) {
  const NetParam net("n", layer);
  const std::string text = to_prototxt(net);
  CAPTURE(text);
  const NetParam again = parse_net(text);
  CHECK_MESSAGE(again == net, to_string(again), "\nexpected\n", to_string(net));
  CHECK(to_prototxt(again) == text);
}

/// The layer with each option off its default, one by one and all together.
template <class L>
void check_options() {
  L all = plain<L>();
  check_round_trip(all);
  if constexpr (requires { &L::options; }) {
    using Options = decltype(L::options);
    Options::fields([&](const char* name, auto member) {
      CAPTURE(name);
      using T = std::remove_cvref_t<decltype(all.options.*member)>;
      L one = plain<L>();
      one.options.*member = off<T>(one.options.*member);
      check_round_trip(one);
      all.options.*member = one.options.*member;
      if constexpr (std::is_enum_v<T>) {
        std::set<std::string> seen;
        for (int i = 0; i < 10; ++i) {
          one.options.*member = static_cast<T>(i);
          const std::string text = enum_name(one.options.*member);
          if (text.empty() || !seen.insert(text).second) continue;
          check_round_trip(one);
        }
      }
    });
    check_round_trip(all);
  }
}

/// What is said of the layer beside its options.
template <class L>
void check_extras() {
  L layer = plain<L>();
  const LayerParam bare(layer);
  const std::size_t bottoms = bare.inputs().size();
  LayerExtras extras{
      .top = {"left", "right"},
      .param = {{"w", ShareMode::Permissive}, {"b"}, {}, {}, {}, {}, {"last", ShareMode::Strict, 0.3, 0.7}},
      .loss_weight = {0.25, 0.1},
      .propagate_down = std::vector<bool>(bottoms, true),
      .include = {{.phase = Phase::Test, .stage = {"a", "b"}}, {.min_level = 1, .max_level = -2, .not_stage = {"c"}}}};
  if (bottoms > 0) extras.propagate_down[0] = false;
  if constexpr (requires { layer.datasets; }) {  // which a file can only call as the tops
    CHECK_THROWS_AS(to_prototxt(NetParam("n", with(layer, extras))), Error);
    layer.datasets = {"left", "right"};
    extras.top = {};
    check_round_trip(with(layer, extras));
    return;
  }
  check_round_trip(with(layer, extras));
  check_round_trip(with(layer, {.exclude = {{.phase = Phase::Train}}}));
  check_round_trip(with(layer, {.top = {"other"}}));
  if (bottoms > 0) check_round_trip(with(layer, {.top = {"a"}}));  // in place
  if constexpr (requires { layer.include; }) {
    for (const Include phase : {Include::Train, Include::Test}) {
      layer.include = phase;
      check_round_trip(layer);
    }
  }
}

}  // namespace

TEST_CASE("every layer comes back from a prototxt as it was") {
  for_each_layer([]<class L>(const Line&, L*) {
    CAPTURE(std::string(L::type));
    check_options<L>();
    check_extras<L>();
  });
  check_round_trip(RDDLayer{"data", {2, 3, 4}});
  check_round_trip(RDDLayer{"data", {2}, Include::Test});
  check_round_trip(with(RDDLayer{"data", {2}}, {.top = {"other"}, .exclude = {{.stage = {"deploy"}}}}));
}

TEST_CASE("every layer of the library is in the catalog") {
  const auto plain_name = [](std::string name) {
    if (name.ends_with("Layer")) name.resize(name.size() - 5);
    std::erase(name, '_');
    std::ranges::transform(name, name.begin(), [](char c) {
      return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    });
    return name;
  };
  std::set<std::string> known = {"rdd"};
  for_each_layer([&]<class L>(const Line& line, L*) {
    CAPTURE(std::string(L::type));
    CHECK(caffes_type(L::type) == line.type);
    CHECK(std::ranges::count(known_types(), line.type) == 1);
    // Our names are Caffe's, so that tools may say either.
    if (!line.takes) CHECK(plain_name(std::string(L::type)) == plain_name(std::string(line.type)));
    CHECK(known.insert(plain_name(std::string(L::type))).second);
    for (const std::string_view message : line.messages)
      CHECK(proto::LayerParameter::descriptor()->FindFieldByName(std::string(message)) != nullptr);
  });
  CHECK(caffes_type("RDDLayer") == "Input");
  CHECK(caffes_type("SnakeLayer").empty());
  std::istringstream names(SPARKNET_LAYER_NAMES);
  for (std::string name; names >> name;) CHECK_MESSAGE(known.contains(plain_name(name)), name, " has no line");
}
