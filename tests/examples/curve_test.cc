#include "examples/lenet/curve.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "sparknet/error.h"
#include "tests/temp_dir.h"

using example::Curve;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Every element that is opened is closed, and no number went wrong.
bool well_formed(const std::string& svg) {
  int depth = 0;
  for (std::size_t i = svg.find('<'); i != std::string::npos; i = svg.find('<', i + 1)) {
    const std::size_t end = svg.find('>', i);
    if (end == std::string::npos) return false;
    if (svg[i + 1] == '/')
      --depth;
    else if (svg[end - 1] != '/')
      ++depth;
    if (depth < 0) return false;
  }
  return depth == 0 && !contains(svg, "nan") && !contains(svg, "inf");
}

Curve training(int iterations) {
  Curve curve;
  curve.title = "LeNet on <MNIST> & more";
  for (int i = 1; i <= iterations; ++i) {
    curve.train_loss.push_back({i, 2.3 / std::sqrt(i)});
    if (i % 500 != 0) continue;
    curve.test_loss.push_back({i, 2.0 / std::sqrt(i)});
    curve.test_accuracy.push_back({i, 1 - 0.5 / std::sqrt(i)});
  }
  return curve;
}

}  // namespace

TEST_CASE("the curve of a run shows its axes, its last accuracy and its title") {
  const std::string svg = example::to_svg(training(10000));
  CHECK(well_formed(svg));
  CHECK(svg.rfind("<svg xmlns=\"http://www.w3.org/2000/svg\"", 0) == 0);
  CHECK(contains(svg, "LeNet on &lt;MNIST&gt; &amp; more"));
  for (const char* text : {">iteration<", ">loss<", ">test accuracy<", ">10,000<", ">0.99<", ">0.9950 at 10,000<"})
    CHECK_MESSAGE(contains(svg, text), text);
  CHECK(svg.size() < 100'000);
}

TEST_CASE("the curve of a run that measured little is still a picture") {
  CHECK(well_formed(example::to_svg({})));
  CHECK(well_formed(example::to_svg(training(1))));
  Curve curve;
  curve.test_accuracy = {{10000, 1.0}};
  curve.test_loss = {{10000, 0.0}};
  CHECK(well_formed(example::to_svg(curve)));
}

TEST_CASE("the curve leaves out losses that are no numbers") {
  Curve curve = training(2000);
  curve.train_loss[700].value = NAN;
  curve.train_loss[701].value = INFINITY;
  curve.test_loss[0].value = NAN;
  CHECK(well_formed(example::to_svg(curve)));
  for (Curve::Point& point : curve.train_loss) point.value = NAN;
  CHECK(well_formed(example::to_svg(curve)));
}

TEST_CASE("write_whole replaces a file and leaves nothing else") {
  const TempDir folder;
  example::write_whole(folder / "a.svg", "old and longer");
  example::write_whole(folder / "a.svg", "new");
  std::ostringstream text;
  text << std::ifstream(folder / "a.svg").rdbuf();
  CHECK(text.str() == "new");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator()) == 1);
  CHECK_THROWS_WITH_AS(
      example::write_whole(folder / "none/a.svg", "text"),
      ((folder / "none/a.svg").string() + ": cannot be written: No such file or directory").c_str(),
      sparknet::DataError);
}
