#include "src/c/json.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "src/suggest.h"

namespace sparknet::c {

Json parse_json(std::string_view text, const std::string& what) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    throw DataError(what, static_cast<std::int64_t>(error.byte), fmt::format("is no JSON: {}", error.what()));
  }
}

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

void refuse(const Json& value, const std::string& name, std::string_view wanted) {
  throw DataError(
      name,
      -1,
      fmt::format("it is {}; {} is wanted", value.dump(-1, ' ', false, Json::error_handler_t::replace), wanted));
}

void refuse_choice(const Json& value, const std::string& name, const std::vector<std::string>& choices) {
  if (!value.is_string()) refuse(value, name, fmt::format("one of \"{}\"", fmt::join(choices, "\", \"")));
  throw DataError(
      name,
      -1,
      fmt::format(
          "there is no \"{}\"{}; there are \"{}\"",
          value.get<std::string>(),
          did_you_mean(value.get<std::string>(), choices),
          fmt::join(choices, "\", \"")));
}

bool same_choice(std::string_view a, std::string_view b) {
  const auto plain = [](std::string_view text) {
    std::string letters;
    for (const char c : text)
      if (c != '_') letters.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
    return letters;
  };
  return plain(a) == plain(b);
}

Json whole_number(const Json& value, const std::string& name) {
  if (value.is_number_integer()) return value;
  const double number = value.is_number() ? value.get<double>() : 0.5;
  if (!(std::abs(number) <= 0x1p53) || number != std::floor(number)) refuse(value, name, "a whole number");
  return static_cast<std::int64_t>(number);
}

void read(const Json& value, const std::string& name, bool& to) {
  if (!value.is_boolean()) refuse(value, name, "true or false");
  to = value.get<bool>();
}

void read(const Json& value, const std::string& name, double& to) {
  if (!value.is_number()) refuse(value, name, "a number");
  to = value.get<double>();
}

void read(const Json& value, const std::string& name, std::string& to) {
  if (!value.is_string()) refuse(value, name, "text");
  to = value.get<std::string>();
}

void read(const Json& value, const std::string& name, Shape& to) {
  std::vector<Dim> dims;
  read(value, name, dims);
  to = Shape(std::span<const Dim>(dims));
}

void read(const Json& value, const std::string& name, Size2& to) {
  std::vector<Dim> sides(1);
  if (value.is_array())
    read(value, name, sides);
  else
    read(value, name, sides[0]);
  if (sides.empty() || sides.size() > 2) refuse(value, name, "one number or [height, width]");
  to = Size2(sides.front(), sides.back());
}

void read(const Json& value, const std::string& name, Multipliers& to) {
  std::vector<double> two(1);
  if (value.is_array())
    read(value, name, two);
  else
    read(value, name, two[0]);
  if (two.empty() || two.size() > 2) refuse(value, name, "one number or [weights, bias]");
  to = {.weights = two.front(), .bias = two.back()};
}

void read(const Json& value, const std::string& name, Filler& to) {
  using Type = Filler::Type;
  const std::vector<std::pair<std::string, Type>> types = {
      {"constant", Type::Constant},
      {"uniform", Type::Uniform},
      {"gaussian", Type::Gaussian},
      {"positive_unitball", Type::PositiveUnitball},
      {"xavier", Type::Xavier},
      {"msra", Type::Msra},
      {"bilinear", Type::Bilinear}};
  to = Filler();
  if (value.is_string()) return read_choice(value, name, to.type, types);
  if (!value.is_object()) refuse(value, name, "a filler's name or an object with its type");
  Fields fields(value, name);
  fields.take("type", to.type, types);
  fields.take("value", to.value);
  fields.take("min", to.min);
  fields.take("max", to.max);
  fields.take("mean", to.mean);
  fields.take("std", to.std);
  fields.take("sparse", to.sparse);
  fields.take(
      "variance_norm",
      to.variance_norm,
      {{"FAN_IN", VarianceNorm::FanIn}, {"FAN_OUT", VarianceNorm::FanOut}, {"AVERAGE", VarianceNorm::Average}});
  fields.finish();
}

Fields::Fields(std::string_view text, std::string what)
    : what_(std::move(what)), object_(text.empty() ? Json::object() : parse_json(text, what_)) {
  if (!object_.is_object()) refuse(object_, what_, "an object of names and values");
}

Fields::Fields(const Json& object, const std::string& name) : what_(name), object_(object) {
  if (!object_.is_object()) refuse(object_, what_, "an object of names and values");
}

void Fields::missing(const std::string& name) const {
  throw DataError(what_, -1, fmt::format("\"{}\" is not given", name));
}

void Fields::finish() const {
  for (const auto& [name, value] : object_.items())
    if (std::ranges::find(asked_, name) == asked_.end())
      throw DataError(
          what_,
          -1,
          fmt::format("there is no \"{}\"{}; there are {}", name, did_you_mean(name, asked_), fmt::join(asked_, ", ")));
}

}  // namespace sparknet::c
