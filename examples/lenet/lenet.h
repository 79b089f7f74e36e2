#pragma once

#include "sparknet/net_param.h"
#include "sparknet/solver.h"

namespace example {

/// The net of SparkNet's README: Caffe's LeNet.
sparknet::NetParam lenet(sparknet::Dim batch, sparknet::Dim test_batch = 100);

/// Caffe's lenet_solver.prototxt.
sparknet::SolverParam lenet_solver();

}  // namespace example
