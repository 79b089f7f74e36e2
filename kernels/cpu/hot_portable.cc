#define SPARKNET_HOT_LEVEL 0
#include "kernels/cpu/hot/unit.inc"
