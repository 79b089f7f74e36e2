#include "src/suggest.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace sparknet {
namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (const char letter : a) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j)
      diagonal = std::exchange(row[j + 1], std::min({row[j + 1] + 1, row[j] + 1, diagonal + (letter != b[j])}));
  }
  return row.back();
}

}  // namespace

std::string did_you_mean(std::string_view wanted, std::span<const std::string> names) {
  std::string nearest;
  std::size_t best = std::min<std::size_t>(2, wanted.size() / 2) + 1;
  for (const std::string& name : names)
    if (const std::size_t distance = edit_distance(wanted, name); distance < best) best = distance, nearest = name;
  return nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?";
}

}  // namespace sparknet
