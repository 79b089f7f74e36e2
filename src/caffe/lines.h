#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "src/io/file.h"

namespace sparknet::caffe {

/// A text file's lines that hold more than blanks, without the blanks at their ends.
struct TextLine {
  std::size_t number;  // from 1
  std::string text;
};
inline std::vector<TextLine> read_lines(const std::filesystem::path& file) {
  const detail::File content(file);
  const std::string_view text(reinterpret_cast<const char*>(content.data()), content.size());
  std::vector<TextLine> lines;
  std::size_t number = 1;
  for (std::size_t at = 0; at < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    const std::size_t first = line.find_first_not_of(" \t\r"), last = line.find_last_not_of(" \t\r");
    if (first != std::string_view::npos) lines.push_back({number, std::string(line.substr(first, last - first + 1))});
    at = end + 1;
  }
  return lines;
}

}  // namespace sparknet::caffe
