#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "sparknet/filler.h"
#include "sparknet/net_param.h"

/// What comes in and goes out as JSON.
namespace sparknet::c {

using Json = nlohmann::json;

/// Throws DataError that names `what` and the byte.
Json parse_json(std::string_view text, const std::string& what);

/// JSON has no number for what is none.
Json number(double value);

/// Throws DataError: "WHAT: NAME is VALUE; WANTED is wanted".
[[noreturn]] void refuse(const Json& value, const std::string& name, std::string_view wanted);

template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

void read(const Json& value, const std::string& name, bool& to);
void read(const Json& value, const std::string& name, double& to);
void read(const Json& value, const std::string& name, std::string& to);
void read(const Json& value, const std::string& name, Shape& to);
void read(const Json& value, const std::string& name, Size2& to);
void read(const Json& value, const std::string& name, Multipliers& to);
void read(const Json& value, const std::string& name, Filler& to);
[[noreturn]] void refuse_choice(const Json& value, const std::string& name, const std::vector<std::string>& choices);
/// Whether two names are one but for capitals and underscores.
bool same_choice(std::string_view a, std::string_view b);

/// The value as an integer of JSON's, also where it is written as 3.0 or 1e6.
Json whole_number(const Json& value, const std::string& name);

template <std::integral T>
requires(!std::same_as<T, bool>) void read(const Json& value, const std::string& name, T& to) {
  const Json whole = whole_number(value, name);
  if (whole.is_number_unsigned() ? !std::in_range<T>(whole.get<std::uint64_t>())
                                 : !std::in_range<T>(whole.get<std::int64_t>()))
    refuse(value, name, "a number that fits");
  to = whole.get<T>();
}

/// An enumeration's names, as to_text writes them, but for its own: "Ave" of Pooling::Ave.
template <class E>
requires std::is_enum_v<E> std::vector<std::string> choices_of() {
  std::vector<std::string> names;
  for (int i = 0; i < 16; ++i) {  // to_text gives "" or the last one's name beyond the end
    std::string name = to_text(static_cast<E>(i));
    name.erase(0, name.rfind(':') + 1);
    if (name.empty() || (!names.empty() && name == names.back())) break;
    names.push_back(std::move(name));
  }
  return names;
}

template <class E>
requires std::is_enum_v<E>
void read(const Json& value, const std::string& name, E& to) {
  const std::vector<std::string> choices = choices_of<E>();
  for (std::size_t i = 0; i < choices.size(); ++i)
    if (value.is_string() && same_choice(value.get_ref<const std::string&>(), choices[i])) {
      to = static_cast<E>(i);
      return;
    }
  refuse_choice(value, name, choices);
}

template <class T>
requires is_vector<T>
void read(const Json& value, const std::string& name, T& to);
template <class T>
requires is_optional<T>
void read(const Json& value, const std::string& name, T& to) {
  typename T::value_type inner{};
  read(value, name, inner);
  to = std::move(inner);
}
template <class T>
requires is_vector<T>
void read(const Json& value, const std::string& name, T& to) {
  if (!value.is_array()) refuse(value, name, "a list");
  T list;
  for (std::size_t i = 0; i < value.size(); ++i) {
    typename T::value_type element{};
    read(value[i], name + "[" + std::to_string(i) + "]", element);
    list.push_back(std::move(element));
  }
  to = std::move(list);
}

template <class T>
concept Readable = requires(const Json& value, const std::string& name, T& to) {
  read(value, name, to);
};

/// One of a few names, each with what it stands for.
template <class T>
void read_choice(
    const Json& value, const std::string& name, T& to, const std::vector<std::pair<std::string, T>>& choices) {
  std::vector<std::string> names;
  for (const auto& [text, meaning] : choices) {
    if (value.is_string() && same_choice(value.get_ref<const std::string&>(), text)) {
      to = meaning;
      return;
    }
    names.push_back(text);
  }
  refuse_choice(value, name, names);
}

/// An object whose names are asked for one by one; finish() refuses those that nobody asked for.
class Fields {
 public:
  /// The object, or one of no names where `text` is empty. `what` is what errors call it.
  Fields(std::string_view text, std::string what);
  /// The same of a value; `prefix` stands before names.
  Fields(const Json& object, const std::string& name);

  const Json* find(const std::string& name) {
    asked_.push_back(name);
    const auto found = object_.find(name);
    return found == object_.end() ? nullptr : &*found;
  }
  /// Sets `to` where the name is given.
  template <class T>
  void take(const std::string& name, T& to) {
    if (const Json* value = find(name)) read(*value, name_of(name), to);
  }
  template <class T>
  void take(const std::string& name, T& to, const std::vector<std::pair<std::string, T>>& choices) {
    if (const Json* value = find(name)) read_choice(*value, name_of(name), to, choices);
  }
  template <class T>
  void require(const std::string& name, T& to) {
    take(name, to);
    if (!object_.contains(name)) missing(name);
  }
  void finish() const;
  std::string name_of(const std::string& name) const { return what_ + ": " + name; }

 private:
  [[noreturn]] void missing(const std::string& name) const;

  std::string what_;
  Json object_;
  std::vector<std::string> asked_;
};

}  // namespace sparknet::c
