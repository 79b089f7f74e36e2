#include "src/cli/progress.h"

#include <fmt/format.h>
#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <cmath>
#include <cstring>
#include <utility>

namespace sparknet::cli {
namespace {

int terminal_columns() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

bool terminal_is_unicode() {
  static const bool unicode = std::setlocale(LC_CTYPE, "") && std::strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
  return unicode;
}

void write_out(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

/// `width` columns, of which `part` are full, to an eighth of a column.
std::string bar(double part, int width, bool unicode) {
  const int eighths = static_cast<int>(std::clamp(part, 0.0, 1.0) * width * 8);
  std::string text;
  for (int i = 0; i < width; ++i) {
    const int full = std::clamp(eighths - 8 * i, 0, 8);
    if (unicode)
      text += full == 0 ? " " : std::string("\xe2\x96") + static_cast<char>(0x88 + 8 - full);  // U+2588 is full
    else
      text += full == 8 ? '=' : full > 0 ? '>' : ' ';
  }
  return fmt::format("{}{}{}", unicode ? "\xe2\x96\x95" : "[", text, unicode ? "\xe2\x96\x8f" : "]");
}

}  // namespace

std::string clock_text(double seconds) {
  if (!(seconds >= 0 && seconds < 1e7)) return "-:--";
  const long whole = std::lround(seconds), h = whole / 3600, m = whole / 60 % 60, s = whole % 60;
  return h > 0 ? fmt::format("{}:{:02}:{:02}", h, m, s) : fmt::format("{}:{:02}", m, s);
}

std::string bar_text(const BarState& state, int columns, bool unicode) {
  const std::string count = fmt::format("{:>{}}/{}", state.iteration, std::to_string(state.last).size(), state.last);
  const std::string loss = fmt::format("  loss {:.4f}", state.loss);
  const std::string left = fmt::format("  {} left", clock_text(state.seconds_left));
  const std::string speed = fmt::format("  {:.0f} examples/s", state.examples_per_second);
  const int room = columns - 1;  // a full last column makes some terminals wrap
  std::string text = count;
  int used = static_cast<int>(count.size());
  const auto add = [&](const std::string& part) {
    if (used + static_cast<int>(part.size()) > room) return;
    text += part;
    used += static_cast<int>(part.size());
  };
  add(loss);
  add(speed);
  add(left);
  const int width = std::min(room - used - 3, 40);
  if (width < 5) return text;
  const double part = state.last > state.first ? static_cast<double>(state.iteration - state.first) /
                                                     static_cast<double>(state.last - state.first)
                                               : 1;
  return fmt::format("{} {}{}", count, bar(part, width, unicode), text.substr(count.size()));
}

ProgressReport::ProgressReport(Options options) : options_(options), iteration_(options.first) {}

void ProgressReport::start_clock() {
  if (!running_) since_ = Clock::now();
  running_ = true;
}

void ProgressReport::pause_clock() {
  if (running_) trained_ += Clock::now() - since_;
  running_ = false;
}

double ProgressReport::examples_per_second() const {
  const Clock::duration all = trained_ + (running_ ? Clock::now() - since_ : Clock::duration{});
  const double seconds = std::chrono::duration<double>(all).count();
  return seconds > 0 ? static_cast<double>((iteration_ - options_.first) * options_.batch) / seconds : 0;
}

void ProgressReport::iteration(std::int64_t number, double loss, double rate) {
  const std::int64_t before = std::exchange(iteration_, number);
  loss_sum_ += loss;
  ++losses_;
  recent_loss_ += (loss - recent_loss_) / static_cast<double>(std::min<std::int64_t>(number - options_.first, 50));
  const bool due =
      number == options_.last || (options_.display > 0 && number / options_.display > before / options_.display);
  if (due) {
    const std::string text = fmt::format(
        "iteration {}/{}  loss {:.4f}  rate {:.6f}  {:.0f} examples/s",
        number,
        options_.last,
        loss_sum_ / static_cast<double>(losses_),
        rate,
        examples_per_second());
    if (options_.log) fmt::print(options_.log, "{}\n", text);
    if (!options_.terminal) write_out(fmt::format("{}\n", text));
    loss_sum_ = 0;
    losses_ = 0;
  }
  if (!options_.terminal) return;
  // Ten times a second is smooth to the eye and free.
  const Clock::time_point now = Clock::now();
  if (now - drawn_ < std::chrono::milliseconds(100) && number != options_.last) return;
  drawn_ = now;
  draw();
}

void ProgressReport::draw() {
  const double speed = examples_per_second();
  const double left = static_cast<double>((options_.last - iteration_) * options_.batch) / speed;
  const BarState state{options_.first, iteration_, options_.last, recent_loss_, speed, left};
  // One write, and the rest of the line is cleared after it: nothing flickers.
  write_out(fmt::format("\r{}\x1b[K", bar_text(state, terminal_columns(), terminal_is_unicode())));
  bar_ = true;
}

void ProgressReport::line(const std::string& text) {
  if (options_.log) fmt::print(options_.log, "{}\n", text);
  const bool bar = bar_;
  write_out(fmt::format("{}{}\n", bar ? "\r\x1b[K" : "", text));
  if (bar) draw();
}

void ProgressReport::finish() {
  if (bar_) write_out("\r\x1b[K");
  bar_ = false;
}

}  // namespace sparknet::cli
