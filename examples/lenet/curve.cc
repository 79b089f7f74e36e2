#include "curve.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <optional>
#include <system_error>

#include "sparknet/error.h"

namespace example {
namespace {

using Points = std::vector<Curve::Point>;

constexpr double width = 880, left = 76, right = 844;  // of the picture, of the panels
constexpr double loss_top = 78, loss_bottom = 318, accuracy_top = 374, accuracy_bottom = 574, height = 632;
constexpr const char* train_color = "#3b75af";
constexpr const char* test_color = "#d9772b";
constexpr const char* accuracy_color = "#3f8f4f";

std::string escape(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  return out;
}

/// 12000 -> "12,000"
std::string grouped(std::int64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, 1, ',');
  return text;
}

std::string text_at(double x, double y, const std::string& classes, const std::string& text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>\n", x, y, classes, escape(text));
}

/// From numbers to pixels, evenly or by the logarithm.
class Axis {
 public:
  Axis(double low, double high, double from, double to, bool logarithmic)
      : low_(logarithmic ? std::log(low) : low),
        high_(logarithmic ? std::log(high) : high),
        from_(from),
        to_(to),
        logarithmic_(logarithmic) {}

  double operator()(double value) const {
    const double part = ((logarithmic_ ? std::log(value) : value) - low_) / (high_ - low_);
    return from_ + (to_ - from_) * std::clamp(part, 0.0, 1.0);
  }

 private:
  double low_, high_, from_, to_;
  bool logarithmic_;
};

/// The smallest of 1, 2, 5, 10, 20, 50, ... that cuts `span` into at most `most` parts.
std::int64_t step_of_ticks(std::int64_t span, std::int64_t most) {
  for (std::int64_t decade = 1;; decade *= 10)
    for (const std::int64_t digit : {1, 2, 5})
      if (span <= most * digit * decade) return digit * decade;
}

/// A line from point to point, with a dot on each where they are few.
std::string line(const Points& points, const Axis& x, const Axis& y, const char* color, double (*map)(double)) {
  std::string path, dots;
  for (const Curve::Point& point : points) {
    if (!std::isfinite(point.value)) continue;
    const double at_x = x(static_cast<double>(point.iteration)), at_y = y(map(point.value));
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : " L", at_x, at_y);
    if (points.size() <= 60)
      dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.6\" fill=\"{}\"/>\n", at_x, at_y, color);
  }
  if (path.empty()) return {};
  return fmt::format("<path d=\"{}\" class=\"line\" stroke=\"{}\"/>\n{}", path, color, dots);
}

/// The training losses, cut into at most one column for each four pixels: their mean, and how far they spread.
struct Columns {
  Points mean, low, high;
};

Columns columns_of(const Points& points) {
  Columns columns;
  const std::size_t most = static_cast<std::size_t>((right - left) / 4);
  const std::size_t share = std::max<std::size_t>(1, (points.size() + most - 1) / most);
  for (std::size_t i = 0; i < points.size(); i += share) {
    double sum = 0, low = HUGE_VAL, high = 0;
    const std::size_t end = std::min(points.size(), i + share);
    for (std::size_t j = i; j < end; ++j) {
      sum += points[j].value;
      low = std::min(low, points[j].value);
      high = std::max(high, points[j].value);
    }
    const std::int64_t middle = points[(i + end - 1) / 2].iteration;
    const double mean = sum / static_cast<double>(end - i);
    if (!std::isfinite(mean)) continue;
    columns.mean.push_back({middle, mean});
    columns.low.push_back({middle, low});
    columns.high.push_back({middle, high});
  }
  return columns;
}

/// What holds a panel: its frame, its name, and the marks of the iterations.
std::string panel(double top, double bottom, const Axis& x, std::int64_t first, std::int64_t last, const char* name) {
  std::string svg;
  const std::int64_t step = step_of_ticks(std::max<std::int64_t>(1, last - first), 10);
  for (std::int64_t tick = (first + step - 1) / step * step; tick <= last; tick += step) {
    const double at = x(static_cast<double>(tick));
    svg += fmt::format("<path d=\"M{0:.1f} {1} V{2}\" class=\"grid\"/>\n", at, top, bottom);
    svg += text_at(at, bottom + 18, "middle", grouped(tick));
  }
  svg += fmt::format("<path d=\"M{} {} V{} H{}\" class=\"frame\"/>\n", left, top, bottom, right);
  svg += text_at(left, top - 12, "name", name);
  return svg;
}

std::string mark(double y, const std::string& text) {
  return fmt::format("<path d=\"M{} {:.1f} H{}\" class=\"grid\"/>\n", left, y, right) +
         text_at(left - 8, y + 4, "end", text);
}

std::string legend(double x, double y, const char* color, const char* text) {
  return fmt::format("<path d=\"M{} {} h22\" class=\"line\" stroke=\"{}\"/>\n", x, y - 4, color) +
         text_at(x + 30, y, "", text);
}

std::string loss_panel(const Curve& curve, const Axis& x, std::int64_t first, std::int64_t last) {
  const Columns train = columns_of(curve.train_loss);
  double low = HUGE_VAL, high = 0;
  for (const Points* points : {&train.low, &train.high, &curve.test_loss})
    for (const Curve::Point& point : *points)
      if (std::isfinite(point.value)) low = std::min(low, point.value), high = std::max(high, point.value);
  if (low > high) low = 0.1, high = 1;
  // Below a ten-thousandth a loss is as good as none, and would only press together what matters.
  low = std::max(low, 1e-4), high = std::max(high, low);
  low = std::pow(10, std::floor(std::log10(low) * 2) / 2);
  high = std::max(std::pow(10, std::ceil(std::log10(high) * 2) / 2), 2 * low);

  const Axis y(low, high, loss_bottom, loss_top, true);
  const bool few = high / low > 300;
  std::string marks;
  for (int decade = static_cast<int>(std::floor(std::log10(low))); std::pow(10, decade) <= high; ++decade)
    for (const int digit : {1, 2, 5}) {
      const double value = digit * std::pow(10, decade);
      if (value >= low * 0.999 && value <= high * 1.001 && (digit == 1 || !few))
        marks += mark(y(value), fmt::format("{:g}", value));
    }
  std::string svg = marks + panel(loss_top, loss_bottom, x, first, last, "loss");
  const auto same = [](double value) { return std::max(value, 1e-9); };

  if (train.mean.size() < curve.train_loss.size()) {
    std::string band;
    const auto go = [&](const Curve::Point& point) {
      band += fmt::format(
          "{}{:.1f} {:.1f}",
          band.empty() ? "M" : " L",
          x(static_cast<double>(point.iteration)),
          y(same(point.value)));
    };
    std::for_each(train.high.begin(), train.high.end(), go);
    std::for_each(train.low.rbegin(), train.low.rend(), go);
    if (!band.empty()) svg += fmt::format("<path d=\"{} Z\" fill=\"{}\" opacity=\"0.18\"/>\n", band, train_color);
  }
  Points mean = train.mean;
  svg += line(mean, x, y, train_color, same);
  svg += line(curve.test_loss, x, y, test_color, same);
  svg += legend(right - 176, loss_top - 12, train_color, "training");
  svg += legend(right - 55, loss_top - 12, test_color, "test");
  return svg;
}

std::string accuracy_panel(const Curve& curve, const Axis& x, std::int64_t first, std::int64_t last) {
  const auto error = [](double accuracy) { return std::clamp(1 - accuracy, 1e-4, 1.0); };
  constexpr double marks[] = {0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999};
  double least_error = 0.1, most_error = 0.1;
  for (const Curve::Point& point : curve.test_accuracy) {
    least_error = std::min(least_error, error(point.value));
    most_error = std::max(most_error, error(point.value));
  }
  double low = 0, high = 0.98;  // the marks around all points
  for (const double value : marks) {
    if (value <= 1 - most_error) low = value;
    if (high < 1 - least_error) high = value;
  }

  const Axis y(1 - low, 1 - high, accuracy_bottom, accuracy_top, true);
  std::string svg;
  for (const double value : marks)
    if (value >= low && value <= high) svg += mark(y(1 - value), fmt::format("{:g}", value));
  svg += panel(accuracy_top, accuracy_bottom, x, first, last, "test accuracy");
  svg += line(curve.test_accuracy, x, y, accuracy_color, error);
  if (!curve.test_accuracy.empty())
    svg += text_at(
        right,
        accuracy_top - 12,
        "end strong",
        fmt::format("{:.4f} at {}", curve.test_accuracy.back().value, grouped(curve.test_accuracy.back().iteration)));
  return svg;
}

}  // namespace

std::string to_svg(const Curve& curve) {
  std::optional<std::int64_t> first;
  std::int64_t last = 0;
  for (const Points* points : {&curve.train_loss, &curve.test_loss, &curve.test_accuracy})
    for (const Curve::Point& point : *points) {
      first = std::min(first.value_or(point.iteration), point.iteration);
      last = std::max(last, point.iteration);
    }
  if (first == 1) first = 0;
  const std::int64_t begin = first.value_or(0), end = std::max(last, begin + 1);
  const Axis x(static_cast<double>(begin), static_cast<double>(end), left, right, false);

  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\">\n"
      "<style>\n"
      "text {{ font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #444; }}\n"
      ".title {{ font-size: 18px; font-weight: 600; fill: #111; }}\n"
      ".name, .strong {{ font-weight: 600; fill: #111; }}\n"
      ".middle {{ text-anchor: middle; }}\n"
      ".end {{ text-anchor: end; }}\n"
      ".grid {{ stroke: #e4e4e4; fill: none; }}\n"
      ".frame {{ stroke: #888; fill: none; }}\n"
      ".line {{ fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }}\n"
      "</style>\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
      width,
      height);
  svg += text_at(left, 32, "title", curve.title);
  svg += text_at(right, 32, "end", curve.subtitle);
  svg += loss_panel(curve, x, begin, end);
  svg += accuracy_panel(curve, x, begin, end);
  svg += text_at((left + right) / 2, height - 18, "middle", "iteration");
  return svg + "</svg>\n";
}

void write_whole(const std::filesystem::path& file, const std::string& text) {
  std::filesystem::path part = file;
  part += ".part";
  std::ofstream out(part, std::ios::binary);
  out << text;
  out.close();
  std::error_code why;
  if (!out)
    why.assign(errno, std::generic_category());
  else
    std::filesystem::rename(part, file, why);
  if (why) {
    std::error_code ignored;
    std::filesystem::remove(part, ignored);
    throw sparknet::DataError(file.string(), -1, fmt::format("cannot be written: {}", why.message()));
  }
}

}  // namespace example
