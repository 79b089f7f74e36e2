#include "digits.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <utility>
#include <vector>

namespace example {
namespace {

using sparknet::Dim;
using sparknet::Random;

constexpr int side = 28;

struct Point {
  float x, y;
};
using Stroke = std::vector<Point>;
using Glyph = std::vector<Stroke>;

/// Appends an arc of an ellipse; degrees from the x axis towards the y axis, which points down.
Stroke arc(Point centre, float rx, float ry, float from, float to, Stroke stroke = {}) {
  const int steps = std::max(4, static_cast<int>(std::abs(to - from) / 18));
  for (int i = 0; i <= steps; ++i) {
    const float angle =
        (from + (to - from) * static_cast<float>(i) / static_cast<float>(steps)) * (std::numbers::pi_v<float> / 180);
    stroke.push_back({centre.x + rx * std::cos(angle), centre.y + ry * std::sin(angle)});
  }
  return stroke;
}

Stroke line(Stroke stroke, std::initializer_list<Point> points) {
  stroke.insert(stroke.end(), points);
  return stroke;
}

/// The ways to write each digit, in a box of -0.6 <= x <= 0.6, -1 <= y <= 1.
std::array<std::vector<Glyph>, 10> make_alphabet() {
  const Stroke top_of_nine = arc({0, -0.45F}, 0.52F, 0.53F, 0, -360);
  return {{
      {{arc({0, 0}, 0.6F, 1, -90, 270)}},
      {{{{0, -1}, {0, 1}}},
       {{{-0.32F, -0.62F}, {0.06F, -1}, {0.06F, 1}}},
       {{{-0.32F, -0.62F}, {0.06F, -1}, {0.06F, 1}}, {{-0.4F, 1}, {0.5F, 1}}}},
      {{line(arc({0, -0.45F}, 0.55F, 0.55F, 180, 400), {{-0.58F, 1}, {0.6F, 1}})},
       {line(
           arc({-0.05F, -0.45F}, 0.5F, 0.55F, 200, 390),
           {{-0.3F, 0.85F}, {-0.5F, 0.75F}, {-0.3F, 0.6F}, {0.6F, 1}})}},
      {{arc({-0.02F, 0.5F}, 0.56F, 0.5F, -80, 150, arc({0, -0.5F}, 0.5F, 0.5F, 205, 440))},
       {arc({-0.02F, 0.4F}, 0.56F, 0.6F, -80, 150, {{-0.5F, -1}, {0.5F, -1}, {0.05F, -0.2F}})}},
      {{{{0.28F, -1}, {-0.6F, 0.35F}, {0.6F, 0.35F}}, {{0.28F, -1}, {0.28F, 1}}},
       {{{-0.4F, -1}, {-0.52F, 0.15F}, {0.6F, 0.1F}}, {{0.36F, -0.95F}, {0.3F, 1}}}},
      {{arc({-0.04F, 0.38F}, 0.58F, 0.6F, -130, 140, {{0.5F, -1}, {-0.38F, -1}, {-0.46F, -0.1F}})}},
      {{arc({0, 0.45F}, 0.55F, 0.55F, 180, -180, arc({0.45F, 0.45F}, 1, 1.43F, 265, 180))},
       {arc({0, 0.5F}, 0.45F, 0.5F, 180, -180, {{0.1F, -1}, {-0.3F, -0.2F}})}},
      {{{{-0.55F, -1}, {0.55F, -1}, {-0.15F, 1}}},
       {{{-0.55F, -1}, {0.55F, -1}, {-0.15F, 1}}, {{-0.25F, 0}, {0.5F, 0}}},
       {{{-0.55F, -0.7F}, {-0.5F, -0.95F}, {0.5F, -1}, {0.1F, -0.1F}, {0, 1}}}},
      {{arc({0, -0.5F}, 0.46F, 0.49F, 90, 450), arc({0, 0.5F}, 0.55F, 0.5F, -90, 270)},
       {{{0.45F, -0.8F},
         {0.1F, -1},
         {-0.4F, -0.75F},
         {-0.3F, -0.35F},
         {0.35F, 0.3F},
         {0.4F, 0.8F},
         {0, 1},
         {-0.4F, 0.75F},
         {-0.25F, 0.2F},
         {0.35F, -0.4F},
         {0.45F, -0.8F}}}},
      {{line(top_of_nine, {{0.45F, 1}})}, {arc({-0.1F, -0.2F}, 0.62F, 1.2F, -10, 100, top_of_nine)}},
  }};
}

/// From the box of the alphabet to pixels.
struct Warp {
  explicit Warp(Random& random) {
    const auto between = [&](double low, double high) { return static_cast<float>(random.uniform(low, high)); };
    const float angle = 0.2F * static_cast<float>(random.gaussian()), shear = between(-0.4, 0.4);
    const float width = 9.5F * between(0.5, 1.1), height = 9.5F * between(0.7, 1.05);
    const float c = std::cos(angle), s = std::sin(angle);
    xx = width * c, xy = height * (-s - shear * c);
    yx = width * s, yy = height * (c - shear * s);
    x0 = 13.5F + between(-2.5, 2.5), y0 = 13.5F + between(-2.5, 2.5);
    for (float& bend : bends) bend = between(-0.14, 0.14);
    for (float& phase : phases) phase = between(0, 2 * std::numbers::pi);
  }

  Point operator()(Point p) const {
    const Point bent{
        p.x + bends[0] * std::sin(2.6F * p.y + phases[0]) + bends[1] * std::sin(4.7F * p.y + phases[1]),
        p.y + bends[2] * std::sin(3.4F * p.x + phases[2]) + bends[3] * std::sin(5.9F * p.x + phases[3])};
    return {x0 + xx * bent.x + xy * bent.y, y0 + yx * bent.x + yy * bent.y};
  }

  float xx, xy, yx, yy, x0, y0;
  std::array<float, 4> bends, phases;
};

using Distances = std::array<float, side * side>;

/// Lowers the squared distance of the pixels within `reach` of the segment from a to b.
void approach(Distances& squares, Point a, Point b, float reach) {
  const auto first = [&](float v) { return std::clamp(static_cast<int>(std::ceil(v - reach)), 0, side); };
  const auto last = [&](float v) { return std::clamp(static_cast<int>(std::floor(v + reach)), -1, side - 1); };
  const float dx = b.x - a.x, dy = b.y - a.y, length = dx * dx + dy * dy;
  const float scale = length > 0 ? 1 / length : 0;
  const int x_begin = first(std::min(a.x, b.x)), x_last = last(std::max(a.x, b.x));
  for (int y = first(std::min(a.y, b.y)); y <= last(std::max(a.y, b.y)); ++y)
    for (int x = x_begin; x <= x_last; ++x) {
      const float px = static_cast<float>(x) - a.x, py = static_cast<float>(y) - a.y;
      const float along = std::clamp((px * dx + py * dy) * scale, 0.F, 1.F);
      const float ex = px - along * dx, ey = py - along * dy;
      float& square = squares[static_cast<std::size_t>(y * side + x)];
      square = std::min(square, ex * ex + ey * ey);
    }
}

}  // namespace

void render_digit(int digit, Random& random, Image& image) {
  static const std::array<std::vector<Glyph>, 10> alphabet = make_alphabet();
  const std::vector<Glyph>& ways = alphabet[static_cast<std::size_t>(digit)];
  const Glyph& glyph = ways[random.below(ways.size())];
  const Warp warp(random);
  const float pen = static_cast<float>(random.uniform(0.7, 1.9));
  const float blur = static_cast<float>(random.uniform(0.8, 2.2));
  const float ink = static_cast<float>(random.uniform(120, 255));
  const float noise = static_cast<float>(random.uniform(0, 80)) / 255;

  Distances squares;
  squares.fill(1e6F);
  for (const Stroke& stroke : glyph) {
    Point last = warp(stroke.front());
    for (std::size_t i = 1; i < stroke.size(); ++i) {
      const Point next = warp(stroke[i]);
      approach(squares, std::exchange(last, next), next, pen + blur);
    }
  }

  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < image.size(); ++i) {
    bits = i % 2 == 0 ? random.bits() : bits >> 16;
    // The difference of two bytes is noise enough: its distribution is a triangle.
    const float disturbance =
        noise * static_cast<float>(static_cast<int>(bits & 255) - static_cast<int>(bits >> 8 & 255));
    const float cover = std::clamp(0.5F + (pen - std::sqrt(squares[i])) / blur, 0.F, 1.F);
    image[i] = static_cast<std::uint8_t>(std::clamp(ink * cover + disturbance, 0.F, 255.F));
  }
}

sparknet::SourcePtr rendered_digits(bool train) {
  const std::uint64_t seed = train ? 1 : 2;
  return sparknet::from_callback(
      {{"data", {1, side, side}, sparknet::DType::U8}, {"label", {1}, sparknet::DType::U8}},
      train ? 60000 : 10000,
      [seed](Dim index, std::span<std::byte* const> out) {
        Random random(seed, static_cast<std::uint64_t>(index));
        const std::uint8_t digit = static_cast<std::uint8_t>(random.below(10));
        Image image;
        render_digit(digit, random, image);
        std::memcpy(out[0], image.data(), image.size());
        std::memcpy(out[1], &digit, 1);
      });
}

}  // namespace example
