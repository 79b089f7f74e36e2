#pragma once

#include "sparknet/net_param.h"
#include "sparknet/solver.h"
#include "sparknet/sparknet_c.h"

/// For C++ programs that hand their descriptions to what speaks the C ABI.
namespace sparknet {

/// The handle of a description built in C++, layers of the program's own included; for sparknet_net_param_free.
SPARKNET_C_API sparknet_net_param* c_handle(NetParam net);
/// For sparknet_solver_param_free.
SPARKNET_C_API sparknet_solver_param* c_handle(SolverParam solver);

}  // namespace sparknet
