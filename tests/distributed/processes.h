#pragma once

#include <chrono>
#include <memory>

#include "sparknet/distributed/communicator.h"

/// This process's member of the group of all that were started together: mpi_test.cc's or gloo_test.cc's.
std::unique_ptr<sparknet::Communicator> join_processes(std::chrono::nanoseconds timeout);
