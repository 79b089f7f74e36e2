#include <cstdio>
#include <filesystem>

#include "sparknet/caffe/blob.h"

int main() {
  const std::filesystem::path file = std::filesystem::temp_directory_path() / "sparknet_consumer.binaryproto";
  const sparknet::Tensor blob = sparknet::Tensor::from({2}, {1.F, 2.F});
  sparknet::caffe::write_blob(file, blob);
  const bool same = sparknet::caffe::read_blob(file) == blob;
  std::filesystem::remove(file);
  try {
    sparknet::caffe::read_blob(file);
  } catch (const sparknet::DataError& error) {  // caught across the library's border
    std::printf("%s\n", error.what());
    return same ? 0 : 1;
  }
  return 1;
}
