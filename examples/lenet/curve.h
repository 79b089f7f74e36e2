#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace example {

/// What was measured during a training run.
struct Curve {
  struct Point {
    std::int64_t iteration;
    double value;
  };
  std::string title, subtitle;
  std::vector<Point> train_loss;  // of every iteration
  std::vector<Point> test_loss, test_accuracy;
};

/// A picture of it that needs nothing else: the losses on a logarithmic axis, and below them the accuracy, on an axis
/// that is logarithmic in what is wrong, so that 0.99 and 0.991 can be told apart.
std::string to_svg(const Curve& curve);

/// Writes text to a file that is always a whole one. Throws sparknet::DataError where it cannot be written.
void write_whole(const std::filesystem::path& file, const std::string& text);

}  // namespace example
