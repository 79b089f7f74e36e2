#pragma once

// A layer's options and the messages that hold them, matched by name: the visitor `fields` on one side, protobuf's
// reflection on the other.

#include <concepts>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "sparknet/net_param.h"
#include "src/caffe/proto.h"

namespace sparknet::caffe {

/// How a type of layers stands in a prototxt: a line of the catalog.
struct Line {
  struct Rename {
    std::string_view ours, caffes;
  };

  /// Caffe's name of the type.
  std::string_view type;
  /// The fields of LayerParameter that hold its options.
  std::vector<std::string_view> messages = {};
  /// Options that Caffe calls otherwise.
  std::vector<Rename> renames = {};
  /// For each of the layer's parameters a letter: whether its multipliers are those of the weights ('w') or of the bias
  /// ('b'). Null: weights, and a bias where the options are Multipliers.
  std::string (*params)(const proto::LayerParameter&) = nullptr;
  /// Where several types of ours are one of Caffe's: whether a message is of this one (null: of any that no other
  /// takes), and what makes it so.
  bool (*takes)(const proto::LayerParameter&) = nullptr;
  void (*mark)(proto::LayerParameter&) = nullptr;
  /// What a message of Caffe's own lacks here; empty: nothing. Null: never anything.
  std::string_view (*lacks)(const proto::LayerParameter&) = nullptr;
};

/// The number that a float stands for, where it was read or is printed: 0.1 of 0.1F.
double from_float(float value);
/// Throws BadInput for a number beyond a float's range; `what` names it.
float to_float(double value, std::string_view what);

bool same_name(std::string_view a, std::string_view b);

Filler read_filler(const proto::FillerParameter& from);
void write_filler(const Filler& filler, proto::FillerParameter& to);
Shape read_shape(const proto::BlobShape& from);
void write_shape(const Shape& shape, proto::BlobShape& to);

/// "AVE" of Pooling::Ave, but for capitals and underscores.
template <class E>
std::string enum_name(E value) {
  const std::string text = to_text(value);
  return text.substr(text.rfind(':') + 1);
}

template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
/// What is one value of a message's field, and no message itself.
template <class T>
concept Scalar = std::integral<T> || std::same_as<T, double> || std::same_as<T, std::string> || std::is_enum_v<T>;

/// A field of MatrixRows.
using Matrix = std::vector<std::vector<double>>;

/// What some field may hold, by itself, repeated, or left out.
template <class T>
inline constexpr bool has_field = Scalar<T> || std::same_as<T, Filler> || std::same_as<T, Shape>;
template <class T>
inline constexpr bool has_field<std::vector<T>> =
    (has_field<T> && !is_vector<T>) || std::same_as<T, Matrix::value_type>;
template <class T>
inline constexpr bool has_field<std::optional<T>> = has_field<T>;

/// What a layer's options are read from. Throws BadInput with the reason.
class OptionReader {
 public:
  OptionReader(const Line& line, const proto::LayerParameter& layer) : line_(line), layer_(layer) {}

  /// Sets the option to what the message says or, where it says nothing, to what that means in Caffe.
  template <class T>
  void read(std::string_view option, T& value) {
    if constexpr (std::same_as<T, Multipliers>) {
      multipliers(option, "wb", value);
    } else if constexpr (std::same_as<T, Size2>) {
      size(option, value);
    } else if constexpr (has_field<T>) {
      if constexpr (std::same_as<T, double>)
        if (special(option, value)) return;
      const std::optional<Place> place = find(option);
      if (!place) return;
      if constexpr (is_optional<T>) {
        if (given(*place)) value = one<typename T::value_type>(*place, -1);
      } else if constexpr (is_vector<T>) {
        if constexpr (std::same_as<T, std::vector<Dim>>)
          if (by_axis(option, value)) return;
        if (count(*place) > 0) value.clear();
        for (int i = 0; i < count(*place); ++i) value.push_back(one<typename T::value_type>(*place, i));
      } else if constexpr (std::same_as<T, Filler>) {
        if (given(*place) || option != "filler") value = read_filler(filler(*place, -1));
      } else if constexpr (Scalar<T>) {
        value = one<T>(*place, -1);
      } else {
        if (given(*place)) value = one<T>(*place, -1);
      }
    }
  }

  /// Refuses fields that are set and that no option took.
  void finish() const;
  /// What is said of the layer beside its options; `tops` are its own.
  LayerExtras extras(const std::vector<std::string>& tops, bool has_include) const;
  /// What an include rule of nothing but a phase says.
  std::optional<Include> include() const;

 private:
  struct Place {
    const google::protobuf::Message* message;
    const google::protobuf::FieldDescriptor* field;
  };
  using Value = std::variant<bool, Dim, double, std::string>;

  std::optional<Place> find(std::string_view option);
  std::optional<Place> find_field(std::string_view name);
  static bool given(const Place& place);
  static int count(const Place& place);
  static Value value(const Place& place, int index);
  static const proto::FillerParameter& filler(const Place& place, int index);
  static const proto::BlobShape& shape(const Place& place, int index);
  static std::vector<double> row(const Place& place, int index);
  static Dim enumerators(const Place& place);
  [[noreturn]] static void refuse_enumerator(const Place& place, const std::string& name);

  template <class T>
  static T one(const Place& place, int index) {
    if constexpr (std::same_as<T, Filler>) {
      return read_filler(filler(place, index));
    } else if constexpr (std::same_as<T, Shape>) {
      return read_shape(shape(place, index));
    } else if constexpr (std::same_as<T, Matrix::value_type>) {
      return row(place, index);
    } else if constexpr (std::is_enum_v<T>) {
      const auto name = std::get<std::string>(value(place, index));
      for (Dim i = 0; i < enumerators(place); ++i)
        if (same_name(enum_name(static_cast<T>(i)), name)) return static_cast<T>(i);
      refuse_enumerator(place, name);
    } else if constexpr (std::integral<T> && !std::same_as<T, bool>) {
      return static_cast<T>(std::get<Dim>(value(place, index)));
    } else {
      return std::get<T>(value(place, index));
    }
  }

  bool special(std::string_view option, double& value);
  void multipliers(std::string_view option, std::string_view params, Multipliers& value);
  void size(std::string_view option, Size2& value);
  /// Sets the option to the two numbers of kernel_h and kernel_w, and the like; false where there are none.
  bool by_axis(std::string_view option, std::vector<Dim>& value);

  const Line& line_;
  const proto::LayerParameter& layer_;
  std::set<const google::protobuf::FieldDescriptor*> taken_;
  /// What the options say of each parameter.
  std::vector<double> lr_, decay_;
  bool has_loss_weight_ = false;
};

/// What a layer's options are written to. Throws BadInput with the reason.
class OptionWriter {
 public:
  OptionWriter(const Line& line, proto::LayerParameter& layer) : line_(line), layer_(layer) {}

  /// Writes the option unless it is `absent`, what a reader makes of a message that does not say it.
  template <class T>
  void write(std::string_view option, const T& value, const T& absent) {
    if constexpr (std::same_as<T, Multipliers>) {
      (option == "lr_mult" ? lr_ : decay_) = Multiplied{value, "wb"};
    } else {
      if constexpr (std::same_as<T, double>)
        if (special(option, value)) return;
      if (value == absent) return;
      if constexpr (std::same_as<T, Size2>) {
        size(option, value);
      } else if constexpr (!has_field<T>) {
        refuse_option(option);
      } else {
        const Place place = find(option);
        if constexpr (is_optional<T>) {
          if (value) one(place, option, *value);
        } else if constexpr (is_vector<T>) {
          if (value.empty()) refuse_empty(option);
          for (const auto& element : value) one(place, option, static_cast<typename T::value_type>(element));
        } else {
          one(place, option, value);
        }
      }
    }
  }

  /// What is said of the layer beside its options, and of its parameters by both.
  void finish(const LayerParam& layer);

 private:
  struct Place {
    google::protobuf::Message* message;
    const google::protobuf::FieldDescriptor* field;
  };
  Place find(std::string_view option);
  Place find_field(std::string_view name, std::string_view option);

  // Set the field, or add to it where it is repeated.
  static void put(const Place& place, std::string_view option, Dim value);
  static void put(const Place& place, std::string_view option, double value);
  static void put(const Place& place, std::string_view option, const std::vector<double>& row);
  static void put(const Place& place, bool value);
  static void put(const Place& place, const std::string& value);
  [[noreturn]] static void refuse_option(std::string_view option);
  [[noreturn]] static void refuse_empty(std::string_view option);
  static void put_enumerator(const Place& place, std::string_view option, const std::string& name);
  static google::protobuf::Message& message(const Place& place);

  template <class T>
  static void one(const Place& place, std::string_view option, const T& value) {
    if constexpr (std::same_as<T, Filler>)
      write_filler(value, static_cast<proto::FillerParameter&>(message(place)));
    else if constexpr (std::same_as<T, Shape>)
      write_shape(value, static_cast<proto::BlobShape&>(message(place)));
    else if constexpr (std::same_as<T, Matrix::value_type>)
      put(place, option, value);
    else if constexpr (std::is_enum_v<T>)
      put_enumerator(place, option, enum_name(value));
    else if constexpr (std::same_as<T, bool> || std::same_as<T, std::string>)
      put(place, value);
    else if constexpr (std::integral<T>)
      put(place, option, static_cast<Dim>(value));
    else
      put(place, option, static_cast<double>(value));
  }

  bool special(std::string_view option, double value);
  void size(std::string_view option, const Size2& value);

  /// The options of the two names, and the letters of Line::params; which parameters there are may depend on options
  /// that come later.
  struct Multiplied {
    Multipliers by;
    std::string_view usual;
  };
  std::vector<double> multipliers_of(const std::optional<Multiplied>& option) const;

  const Line& line_;
  proto::LayerParameter& layer_;
  std::optional<Multiplied> lr_, decay_;
  std::optional<double> loss_weight_;
};

}  // namespace sparknet::caffe
