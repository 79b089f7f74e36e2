#include "src/cli/commands.h"

namespace sparknet::cli {

int convert_mnist(const ConvertArguments& arguments) {
  caffe::convert_mnist(arguments.files.at(0), arguments.files.at(1), arguments.out, arguments.backend);
  return 0;
}

int convert_cifar10(const ConvertArguments& arguments) {
  caffe::convert_cifar10(arguments.files, arguments.out, arguments.backend);
  return 0;
}

}  // namespace sparknet::cli
