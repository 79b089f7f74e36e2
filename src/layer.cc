#include "sparknet/layer.h"

#include <utility>

namespace sparknet {

void LayerSetup::param(std::string name, Shape shape, Filler filler, double lr_mult, double decay_mult) {
  params.push_back({std::move(name), shape, filler, lr_mult, decay_mult});
}

}  // namespace sparknet
