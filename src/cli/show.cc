#include <fmt/format.h>

#include <span>

#include "src/cli/commands.h"
#include "src/io/atomic_file.h"

namespace sparknet::cli {

int summary(const NetArguments& arguments) {
  fmt::print("{}", open_net(arguments).summary());
  return 0;
}

int draw(const DrawArguments& arguments) {
  const std::string dot = open_net(arguments.net).dot();
  if (arguments.out.empty())
    fmt::print("{}", dot);
  else
    detail::write_atomically(arguments.out, std::as_bytes(std::span(dot)));
  return 0;
}

}  // namespace sparknet::cli
