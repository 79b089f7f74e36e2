// Compiled with the include directory and linked with nothing.
#include "sparknet/tensor.h"

int main() {
  try {
    sparknet::Tensor tensor({2, 3});
    return tensor.shape().size() == 2 ? 0 : 1;
  } catch (const sparknet::Error&) {
    return 1;
  }
}
