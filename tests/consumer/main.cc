// A program outside the project: builds a net of the library's layers and one of its own, and catches the library's
// error.
#include <cstdio>

#include "sparknet/sparknet.h"

using namespace sparknet;

int main() {
  const NetParam net(
      "consumer",
      RDDLayer{"data", {4, 1, 8, 8}},
      ConvolutionLayer{"conv", {"data"}, {.kernel = 3, .num_output = 2}});
  std::fputs(summary(net).c_str(), stdout);

  NetParam wrong = net;
  wrong.add(ConvolutionLayer{"again", {"cnov"}, {.kernel = 3, .num_output = 2}});
  try {
    (void)summary(wrong);
  } catch (const NetError& e) {
    return e.layer() == "again" ? 0 : 1;
  }
  return 1;
}
