#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

/// Where the data set `name` lies below $SPARKNET_DATA_DIR. Where there is none this prints the line by which ctest
/// reports the test as skipped, so a test begins with `const auto dir = test_data("mnist"); if (!dir) return;`.
inline std::optional<std::filesystem::path> test_data(const std::string& name) {
  const char* root = std::getenv("SPARKNET_DATA_DIR");
  if (root != nullptr && *root != '\0') {
    std::filesystem::path dir = std::filesystem::path(root) / name;
    if (std::filesystem::exists(dir)) return dir;
    std::printf("skipped: %s does not exist\n", dir.c_str());
  } else {
    std::printf("skipped: needs the data set \"%s\" below $SPARKNET_DATA_DIR, which is not set\n", name.c_str());
  }
  return std::nullopt;
}
