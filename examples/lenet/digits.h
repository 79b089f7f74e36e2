#pragma once

#include <array>
#include <cstdint>

#include "sparknet/data/source.h"
#include "sparknet/random.h"

namespace example {

using Image = std::array<std::uint8_t, 28 * 28>;

/// Draws a digit as a hand might: its strokes bent, rotated, sheared, scaled and shifted at random, with a pen of
/// random width, on noise.
void render_digit(int digit, sparknet::Random& random, Image& image);

/// A data set like MNIST, drawn when asked for: 60,000 digits to train on, or 10,000 others to test with.
/// Columns "data" u8 [1, 28, 28] and "label" u8 [1]; always the same ones.
sparknet::SourcePtr rendered_digits(bool train);

}  // namespace example
