#include "sparknet/layer.h"

#include <string>
#include <utility>

namespace sparknet {

void LayerSetup::param(std::string name, Shape shape, Filler filler, double lr_mult, double decay_mult) {
  params.push_back({std::move(name), shape, filler, lr_mult, decay_mult});
}

void Layer::refuse(LayerIO&, std::int64_t verdict) {
  throw BadInput("refuses number " + std::to_string(verdict) + " of its input");
}

}  // namespace sparknet
