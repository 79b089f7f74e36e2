#pragma once

#include "sparknet/data/source.h"
#include "sparknet/net.h"
#include "sparknet/net_param.h"

namespace sparknet::testing {

/// The net of the README, small: every kind of layer it has, fewer outputs.
NetParam small_lenet(Dim batch);

/// Fan-out, in-place candidates, fused candidates, concatenation and sums in one net.
NetParam branching_net(Dim batch);

/// A net of random layers in random order, each reading one or two random blobs before it; a function of the seed. Some
/// blobs are read by many and some by nobody.
NetParam random_net(Dim batch, std::uint64_t seed);

/// Examples for all: "data" f32 of the given shape, normal, and "label" below 5; a function of the seed.
SourcePtr random_examples(Dim count, const Shape& shape, std::uint64_t seed);

}  // namespace sparknet::testing
