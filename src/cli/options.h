#pragma once

// What the programs' options have in common.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "sparknet/device.h"
#include "src/suggest.h"

namespace sparknet::cli {

/// A whole number that is not below `least`, and has no more than so many digits.
inline CLI::Validator at_least(int least, std::size_t most_digits = 12) {
  const auto check = [least, most_digits](const std::string& text) -> std::string {
    const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
    const bool enough = digits && (least == 0 || text.find_first_not_of('0') != std::string::npos);
    if (!enough) return fmt::format("{} is no whole number from {} on", text, least);
    return text.size() > most_digits ? fmt::format("{} is too large", text) : "";
  };
  return CLI::Validator(check, "");
}

/// --device: cpu, cuda (the first GPU) or cuda:N.
inline CLI::Option* add_device(CLI::App* app, Device& device) {
  return app
      ->add_option_function<std::string>(
          "--device",
          [&device](const std::string& text) {
            const std::size_t colon = text.find(':');
            const bool is_cuda = text.substr(0, colon) == "cuda";
            const std::string number = colon == std::string::npos ? "0" : text.substr(colon + 1);
            const std::string wrong = at_least(0, 3)(number);
            if ((!is_cuda && text != "cpu") || (is_cuda && !wrong.empty()))
              throw CLI::ValidationError("--device", text + " is no device: cpu, cuda (the first GPU) or cuda:N");
            device = is_cuda ? Device::cuda(std::stoi(number)) : Device::cpu();
          },
          "Where the net runs: cpu, cuda or cuda:N (cpu)")
      ->type_name("NAME");
}

/// How a GPU holds blobs.
inline void add_forms(CLI::App* app, bool& bf16, std::optional<bool>& nhwc) {
  app->add_flag("--bf16", bf16, "On a GPU: blobs of BF16 between convolutions and inner products");
  app->add_flag("--nhwc,!--nchw", nhwc, "On a GPU: the order of images between convolutions (nhwc with --bf16)");
}

/// What is said of an argument that the command does not know; for an option, the nearest there is.
inline std::string explain_argument(const CLI::App* app, const std::string& argument) {
  const std::string name = argument.substr(0, argument.find('='));
  std::vector<std::string> names;
  std::string missing;
  for (const CLI::Option* option : app->get_options()) {
    names.push_back(option->get_name());
    if (option->get_required() && !option->get_positional() && option->count() == 0) missing = option->get_name();
  }
  if (name.starts_with('-')) return fmt::format("there is no option {}{}", name, did_you_mean(name, names));
  return fmt::format(
      "{} is one argument too many{}",
      argument,
      missing.empty() ? "" : fmt::format("; did you mean {} {}?", missing, argument));
}

}  // namespace sparknet::cli
