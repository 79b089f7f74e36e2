#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "sparknet/data/feed.h"
#include "sparknet/error.h"
#include "sparknet/layer.h"
#include "sparknet/shape.h"

namespace sparknet {

/// Height and width. `5` and `{5, 5}` are both a 5x5 square; `{5, 5, 5}` does not compile. 0x0: not given.
struct Size2 {
  Dim h = 0, w = 0;

  constexpr Size2() = default;
  constexpr Size2(Dim side) : h(side), w(side) {}
  constexpr Size2(Dim height, Dim width) : h(height), w(width) {}
  bool operator==(const Size2&) const = default;
};

/// A number for each of a layer's two parameters: `{1, 2}`, or `{.weights = 1, .bias = 2}`.
struct Multipliers {
  double weights = 1, bias = 1;
  bool operator==(const Multipliers&) const = default;
};

/// The phase a layer belongs to; a layer without one belongs to both.
enum class Include : std::uint8_t { Train, Test };

/// What a net is built for: its phase, and whatever a program tells nets apart by. Caffe's NetState.
struct NetState {
  Phase phase = Phase::Train;
  int level = 0;
  std::vector<std::string> stages = {};

  NetState(Phase net_phase = Phase::Train, int net_level = 0, std::vector<std::string> net_stages = {})
      : phase(net_phase), level(net_level), stages(std::move(net_stages)) {}
  bool operator==(const NetState&) const = default;
};

/// Holds for a net where all that is given holds: its phase, its level, all of `stage` and none of `not_stage`. Caffe's
/// NetStateRule.
struct NetStateRule {
  std::optional<Phase> phase = {};
  std::optional<int> min_level = {}, max_level = {};
  std::vector<std::string> stage = {}, not_stage = {};

  bool holds(const NetState& state) const;
  bool operator==(const NetStateRule&) const = default;
};

/// Whether parameters that share their numbers must have the same shape, or only as many elements.
enum class ShareMode : std::uint8_t { Strict, Permissive };

/// What is said of one of a layer's parameters, in the order in which the layer declares them. Caffe's ParamSpec.
struct ParamSpec {
  /// Parameters of the same name, in whatever layers, are one; empty: it is the layer's own.
  std::string name = {};
  ShareMode share_mode = ShareMode::Strict;
  /// Instead of what the layer's options say.
  std::optional<double> lr_mult = {}, decay_mult = {};

  bool operator==(const ParamSpec&) const = default;
};

/// What any layer may be told beside its own options, by `with`. Caffe's fields of the same names.
struct LayerExtras {
  /// The names of its tops; empty: its name. A top may have the name of the bottom of the same number: it is then what
  /// later layers read by that name (Caffe's in-place layers; whether memory is shared the net decides by itself).
  std::vector<std::string> top = {};
  std::vector<ParamSpec> param = {};
  /// One for each top, of which the net then minimises the sum of weight * elements; instead of what the layer says.
  std::vector<double> loss_weight = {};
  /// One for each bottom: false keeps this layer's gradient from it; true asks for one where no parameter needs it.
  std::vector<bool> propagate_down = {};
  /// The layer takes part where one of `include` holds, or none of `exclude`; not both.
  std::vector<NetStateRule> include = {}, exclude = {};

  bool operator==(const LayerExtras&) const = default;
};

/// Exactly N names of blobs to read from. A wrong count does not compile, and neither does the trap `{{"a", "b"}}`,
/// which a std::vector<std::string> takes for one string.
template <std::size_t N>
class Inputs {
 public:
  template <std::convertible_to<std::string> First, std::convertible_to<std::string>... Rest>
  Inputs(First&& first, Rest&&... rest)
      : names_{std::string(std::forward<First>(first)), std::string(std::forward<Rest>(rest))...} {
    static_assert(N == 0 || 1 + sizeof...(Rest) == N, "wrong number of inputs for this layer");
  }
  /// For nets made by loops; the net checks the count.
  explicit Inputs(std::vector<std::string> names) : names_(std::move(names)) {}

  std::span<const std::string> names() const { return names_; }
  bool operator==(const Inputs&) const = default;

 private:
  std::vector<std::string> names_;
};
/// One or more names, for layers such as Concat.
using AnyInputs = Inputs<0>;

/// Refuses a layer's inputs unless `ok`.
inline void require(bool ok, const char* why) {
  if (!ok) throw BadInput(why);
}

// The text of an option's value, as it would be written in the DSL. Options' own enums add overloads.
std::string to_text(bool value);
std::string to_text(Dim value);
std::string to_text(double value);
std::string to_text(const std::string& value);
std::string to_text(const Size2& value);
std::string to_text(const Multipliers& value);
std::string to_text(const std::vector<double>& value);
std::string to_text(const Shape& value);
template <std::integral T>
std::string to_text(T value) {
  return to_text(static_cast<Dim>(value));
}
template <class T>
std::string to_text(const std::optional<T>& value) {
  return value ? to_text(*value) : "{}";
}
template <class T>
std::string to_text(const std::vector<T>& values) {
  std::string text = "{";
  for (const T& value : values) text += (text.size() == 1 ? "" : ", ") + to_text(value);
  return text + "}";
}

namespace detail {

template <class L>
std::string options_text(const L& layer) {
  std::string text;
  if constexpr (requires { layer.options; }) {
    using Options = std::remove_cvref_t<decltype(layer.options)>;
    const Options initial{};
    auto print = [&](const char* name, auto member) {
      if (layer.options.*member == initial.*member) return;
      text += (text.empty() ? "." : ", .") + std::string(name) + " = " + to_text(layer.options.*member);
    };
    if constexpr (requires { Options::fields(print); }) Options::fields(print);
  } else if constexpr (requires { layer.shape; }) {
    return to_text(layer.shape);
  }
  return text.empty() ? text : "{" + text + "}";
}

}  // namespace detail

/// What NetParam takes: any type, a user's own included, with these members.
///
///     struct MyLayer {
///       static constexpr std::string_view type = "MyLayer";
///       std::string name;
///       Inputs<1> bottom;
///       MyOptions options;                              // plain data, compared by ==
///       std::optional<Include> include = {};            // may be left out
///       Where where = Where::here();
///       std::span<const std::string> inputs() const;
///       Shape infer(std::span<const Shape> in) const;   // or std::vector<Shape>, one for each top; throws BadInput
///       std::unique_ptr<Layer> make() const;            // the layer that runs
///       bool operator==(const MyLayer&) const = default;
///     };
///
/// A layer's top has the layer's name, unless `with` names it. One that always has more tops, or none, adds
/// `std::vector<std::string> tops() const`, their names. One that has as many as it is given names for has
/// `std::vector<Shape> infer(std::span<const Shape> in, std::size_t tops) const` instead.
/// A layer that reads a source of its own has `LayerFeed feed(Phase phase) const`, and its `make` returns null.
/// Options with `template <class V> static void fields(V&& visit)` that calls `visit("member", &MyOptions::member)` for
/// each member are printed by to_string.
template <class L>
concept LayerSpec = requires(const L& layer, std::span<const Shape> in) {
  { L::type } -> std::convertible_to<std::string_view>;
  { layer.name } -> std::convertible_to<std::string>;
  { layer.where } -> std::convertible_to<Where>;
  { layer.inputs() } -> std::convertible_to<std::span<const std::string>>;
  { layer.make() } -> std::convertible_to<std::unique_ptr<Layer>>;
}
&&(
    requires(const L& layer, std::span<const Shape> in) { layer.infer(in); } ||
    requires(const L& layer, std::span<const Shape> in) { layer.infer(in, std::size_t{1}); }) &&
    std::equality_comparable<L>;

/// One layer of a net, whatever its type. A cheap value: copies share the description, which never changes.
class LayerParam {
 public:
  template <LayerSpec L>
  LayerParam(L layer) : self_(std::make_shared<Holder<L>>(std::move(layer))) {}

  const std::string& name() const { return self_->name(); }
  std::string_view type() const { return self_->type(); }
  Where where() const { return self_->where(); }
  std::span<const std::string> inputs() const { return self_->inputs(); }
  /// How many inputs the type takes; 0: any number.
  std::size_t arity() const { return self_->arity(); }
  std::vector<std::string> tops() const { return extras().top.empty() ? self_->tops() : extras().top; }
  std::optional<Include> include() const { return self_->include(); }
  /// What was said `with` the layer.
  const LayerExtras& extras() const;
  /// Whether the layer takes part in such a net.
  bool in(const NetState& state) const;
  std::vector<Shape> infer(std::span<const Shape> in) const { return self_->infer(in, tops().size()); }
  /// The layer that runs; null for an input, which is filled from outside of the net or from a feed of its own.
  std::unique_ptr<Layer> make() const { return self_->make(); }
  /// What fills the tops of an input that reads a source of its own.
  std::optional<LayerFeed> feed(Phase phase) const { return self_->feed(phase); }
  /// "{.kernel = 5, .num_output = 20}": what differs from the defaults; of an input its shape.
  std::string options_text() const { return self_->options_text(); }

  /// The description as the type it was written in, or null for another type.
  template <LayerSpec L>
  const L* as() const {
    auto* holder = dynamic_cast<const Holder<L>*>(self_.get());
    return holder ? &holder->layer : nullptr;
  }

  friend bool operator==(const LayerParam& a, const LayerParam& b) {
    return (a.self_ == b.self_ || a.self_->equals(*b.self_)) && a.extras() == b.extras();
  }
  friend LayerParam with(LayerParam layer, LayerExtras extras);

 private:
  struct Base {
    virtual ~Base() = default;
    virtual const std::string& name() const = 0;
    virtual std::string_view type() const = 0;
    virtual Where where() const = 0;
    virtual std::span<const std::string> inputs() const = 0;
    virtual std::size_t arity() const = 0;
    virtual std::vector<std::string> tops() const = 0;
    virtual std::optional<Include> include() const = 0;
    virtual std::vector<Shape> infer(std::span<const Shape> in, std::size_t tops) const = 0;
    virtual std::unique_ptr<Layer> make() const = 0;
    virtual std::optional<LayerFeed> feed(Phase phase) const = 0;
    virtual std::string options_text() const = 0;
    virtual bool equals(const Base& other) const = 0;
  };

  template <std::size_t N>
  static constexpr std::size_t count_of(const Inputs<N>*) {
    return N;
  }

  template <class L>
  struct Holder final : Base {
    explicit Holder(L l) : layer(std::move(l)) {}
    const std::string& name() const override { return layer.name; }
    std::string_view type() const override { return L::type; }
    Where where() const override { return layer.where; }
    std::span<const std::string> inputs() const override { return layer.inputs(); }
    std::size_t arity() const override {
      if constexpr (requires { count_of(&layer.bottom); }) return count_of(&layer.bottom);
      return 0;
    }
    std::vector<std::string> tops() const override {
      if constexpr (requires { layer.tops(); }) return layer.tops();
      return {layer.name};
    }
    std::optional<Include> include() const override {
      if constexpr (requires { layer.include; }) return layer.include;
      return {};
    }
    std::vector<Shape> infer(std::span<const Shape> in, std::size_t tops) const override {
      if constexpr (requires { layer.infer(in, tops); })
        return layer.infer(in, tops);
      else if constexpr (std::same_as<decltype(layer.infer(in)), Shape>)
        return std::vector<Shape>{layer.infer(in)};
      else
        return layer.infer(in);
    }
    std::unique_ptr<Layer> make() const override { return layer.make(); }
    std::optional<LayerFeed> feed([[maybe_unused]] Phase phase) const override {
      if constexpr (requires { layer.feed(phase); }) return layer.feed(phase);
      return {};
    }
    std::string options_text() const override { return detail::options_text(layer); }
    bool equals(const Base& other) const override {
      auto* same = dynamic_cast<const Holder*>(&other);
      return same && layer == same->layer;
    }
    L layer;
  };
  std::shared_ptr<const Base> self_;
  std::shared_ptr<const LayerExtras> extras_;
};

/// The layer, and what is said of it beside its own options; what was said before is replaced.
///
///     with(SliceLayer{"slice", {"pair"}}, {.top = {"left", "right"}})
///     with(InnerProductLayer{"ip_p", {"right"}, {.num_output = 10}}, {.param = {{"ip_w"}, {"ip_b"}}})
LayerParam with(LayerParam layer, LayerExtras extras);

/// What NetParam takes: a layer, or a layer `with` more.
template <class L>
concept NetLayer = LayerSpec<L> || std::same_as<L, LayerParam>;

/// A net as a plain value: copy it, compare it, print it, build it in loops. A Net is what runs.
///
///     NetParam("LeNet", RDDLayer{"data", {64, 1, 28, 28}}, ConvolutionLayer{"conv1", {"data"}, {...}}, ...)
struct NetParam {
  NetParam() = default;
  template <NetLayer... L>
  explicit NetParam(std::string net_name, L... ls) : name(std::move(net_name)), layers{LayerParam(std::move(ls))...} {}

  /// For nets written with loops: `net.add(ReLULayer{...}).add(...)`.
  NetParam& add(LayerParam layer) {
    layers.push_back(std::move(layer));
    return *this;
  }

  bool operator==(const NetParam&) const = default;

  std::string name;
  std::vector<LayerParam> layers;
  /// Compute the gradient of every blob, inputs included, whether or not a parameter needs it.
  bool force_backward = false;
};

/// The net as it would be written in the DSL.
std::string to_string(const NetParam& net);

/// One line for each layer of the phase: name, type, shape and inputs. Throws NetError for a net that makes no sense.
std::string summary(const NetParam& net, const NetState& state = {});

/// The shapes of every layer's tops, in order, for the layers that take part. Throws NetError for a net that makes no
/// sense.
struct InferredLayer {
  LayerParam param;
  std::vector<std::string> tops;
  std::vector<Shape> bottom_shapes, top_shapes;
};
std::vector<InferredLayer> infer_shapes(const NetParam& net, const NetState& state);

}  // namespace sparknet
