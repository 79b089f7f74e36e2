#pragma once

#include <cstddef>
#include <optional>
#include <type_traits>

namespace sparknet::test {

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

struct Anything {
  // An optional makes itself from anything its value can be made from; with a conversion as well it could not choose.
  template <class T>
  requires(!is_optional<T>) operator T() const;
};

/// How many members an aggregate has, by how many initialisers it takes.
template <class Aggregate, class... Initialisers>
consteval std::size_t aggregate_fields() {
  static_assert(std::is_aggregate_v<Aggregate>);
  if constexpr (requires { Aggregate{Initialisers{}..., Anything{}}; })
    return aggregate_fields<Aggregate, Initialisers..., Anything>();
  else
    return sizeof...(Initialisers);
}

}  // namespace sparknet::test
