#pragma once

#include <vector>

#include "kernels/cuda/context.h"

namespace sparknet::kernels::cuda {

/// Updates that were asked for one by one, so that one kernel does them: small nets have many small parameters.
class Updates {
 public:
  explicit Updates(Context& context) : context_(context) { passes_.reserve(kMost); }

  void add(DType dtype, const UpdatePass& pass);
  /// Starts what was added.
  void start();
  void forget() { passes_.clear(); }

 private:
  /// As many as the parameter of a kernel has room for.
  static constexpr std::size_t kMost = 48;

  Context& context_;
  DType dtype_ = DType::F32;
  std::vector<UpdatePass> passes_;
};

}  // namespace sparknet::kernels::cuda
