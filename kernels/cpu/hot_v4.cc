#define SPARKNET_HOT_LEVEL 4
#include "kernels/cpu/hot/unit.inc"
