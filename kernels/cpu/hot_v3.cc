#define SPARKNET_HOT_LEVEL 3
#include "kernels/cpu/hot/unit.inc"
