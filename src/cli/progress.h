#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace sparknet::cli {

/// Says how training goes: on a terminal by a line redrawn in place, elsewhere by a line every `display` iterations.
/// All lines also go to a log.
class ProgressReport {
 public:
  struct Options {
    std::int64_t first, last;  // iterations
    std::int64_t batch;        // the examples of an iteration, over all workers
    /// A line shows the mean loss since the last; 0: a line at the end only.
    std::int64_t display;
    bool terminal;
    std::FILE* log = nullptr;
  };
  explicit ProgressReport(Options options);

  /// To be called when training starts, and after it was held up: what happened until now does not count as training.
  void start_clock();
  void pause_clock();

  void iteration(std::int64_t number, double loss, double rate);
  /// Prints a line, above the bar where there is one.
  void line(const std::string& text);
  /// Takes the bar away.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;

  double examples_per_second() const;
  void draw();

  Options options_;
  std::int64_t iteration_;
  double recent_loss_ = 0, loss_sum_ = 0;
  std::int64_t losses_ = 0;  // in the sum
  Clock::duration trained_{};
  Clock::time_point since_{}, drawn_{};
  bool running_ = false, bar_ = false;
};

/// The text of a bar that fits into `columns`: what is less important is left out first.
struct BarState {
  std::int64_t first, iteration, last;
  double loss, examples_per_second, seconds_left;
};
std::string bar_text(const BarState& state, int columns, bool unicode);

/// 75 -> "1:15", 3675 -> "1:01:15"
std::string clock_text(double seconds);

}  // namespace sparknet::cli
