#include "examples/lenet/digits.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <set>
#include <vector>

using sparknet::Dim;

namespace {

struct Example {
  std::vector<std::byte> image;
  int label;
};

Example example_of(const sparknet::DataSource& source, Dim index) {
  std::vector<std::byte> image(28 * 28);
  std::byte label{};
  const std::byte* pixels = source.example(index, 0, image.data());
  if (pixels != image.data()) std::memcpy(image.data(), pixels, image.size());
  return {image, static_cast<int>(*source.example(index, 1, &label))};
}

}  // namespace

TEST_CASE("rendered digits have the columns and the sizes of MNIST") {
  const sparknet::SourcePtr train = example::rendered_digits(true), test = example::rendered_digits(false);
  CHECK(train->size() == 60000);
  CHECK(test->size() == 10000);
  CHECK(
      train->columns() ==
      std::vector<sparknet::Column>{{"data", {1, 28, 28}, sparknet::DType::U8}, {"label", {1}, sparknet::DType::U8}});
  CHECK(test->columns() == train->columns());
}

TEST_CASE("rendered digits are a function of the index") {
  const sparknet::SourcePtr source = example::rendered_digits(true), again = example::rendered_digits(true);
  for (const Dim index : {Dim{0}, Dim{59999}, Dim{7}}) {
    const Example a = example_of(*source, index), b = example_of(*again, index);
    CHECK(a.label == b.label);
    CHECK(a.image == b.image);
  }
}

TEST_CASE("rendered digits: all different, all ten labels, none empty or cut off") {
  const sparknet::SourcePtr train = example::rendered_digits(true), test = example::rendered_digits(false);
  std::set<std::vector<std::byte>> seen;
  std::array<int, 10> labels{};
  for (const sparknet::SourcePtr& source : {train, test})
    for (Dim i = 0; i < 1000; ++i) {
      const Example example = example_of(*source, i);
      REQUIRE(example.label >= 0);
      REQUIRE(example.label <= 9);
      ++labels[static_cast<std::size_t>(example.label)];
      int bright = 0, bright_at_the_edge = 0;
      for (std::size_t p = 0; p < example.image.size(); ++p) {
        if (static_cast<int>(example.image[p]) < 100) continue;
        ++bright;
        if (p < 28 || p >= 27 * 28 || p % 28 == 0 || p % 28 == 27) ++bright_at_the_edge;
      }
      CHECK(bright > 10);
      CHECK(bright < 400);
      CHECK(bright_at_the_edge < 12);
      seen.insert(example.image);
    }
  CHECK(seen.size() == 2000);
  CHECK(*std::min_element(labels.begin(), labels.end()) > 150);
}
