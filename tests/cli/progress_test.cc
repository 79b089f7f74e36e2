#include "src/cli/progress.h"

#include <doctest/doctest.h>

#include <string>

using sparknet::cli::bar_text;

namespace {

std::size_t columns_of(const std::string& text) {
  std::size_t columns = 0;
  for (const char c : text) columns += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return columns;
}

}  // namespace

TEST_CASE("the bar fits every terminal and leaves out what matters least") {
  const sparknet::cli::BarState state{0, 2500, 10000, 0.12345, 12345, 75};
  CHECK(
      bar_text(state, 80, false) == " 2500/10000 [=====>                 ]  loss 0.1235  12345 examples/s  1:15 left");
  CHECK(bar_text(state, 48, false) == " 2500/10000  loss 0.1235  12345 examples/s");
  CHECK(bar_text(state, 30, false) == " 2500/10000  loss 0.1235");
  CHECK(bar_text(state, 12, false) == " 2500/10000");
  for (int columns = 12; columns < 200; ++columns)
    for (const bool unicode : {false, true})
      CHECK(columns_of(bar_text(state, columns, unicode)) < static_cast<std::size_t>(columns));
}

TEST_CASE("the bar of a resumed run begins where the run does") {
  CHECK(bar_text({500, 500, 1000, 1, 1, 1}, 80, false).find("[ ") != std::string::npos);
  CHECK(bar_text({500, 1000, 1000, 1, 1, 1}, 80, false).find("=]") != std::string::npos);
  CHECK(bar_text({500, 500, 500, 1, 1, 1}, 80, false).find("=]") != std::string::npos);
}

TEST_CASE("times are written as clocks show them") {
  CHECK(sparknet::cli::clock_text(0) == "0:00");
  CHECK(sparknet::cli::clock_text(75.4) == "1:15");
  CHECK(sparknet::cli::clock_text(3675) == "1:01:15");
  CHECK(sparknet::cli::clock_text(1e300) == "-:--");
  CHECK(sparknet::cli::clock_text(-1) == "-:--");
}
