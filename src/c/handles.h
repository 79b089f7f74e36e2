#pragma once

#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sparknet/distributed/averaging_solver.h"
#include "sparknet/distributed/round_master.h"
#include "sparknet/net.h"
#include "sparknet/solver.h"
#include "sparknet/sparknet_c.h"
#include "src/c/json.h"

// What the opaque handles of sparknet_c.h are.

struct sparknet_bytes {
  std::vector<std::byte> bytes;
};
struct sparknet_net_param {
  sparknet::NetParam param;
};
struct sparknet_solver_param {
  sparknet::SolverParam param;
};
struct sparknet_source {
  sparknet::SourcePtr source;
};
struct sparknet_net {
  std::shared_ptr<sparknet::Net> net;
  /// Of the blob that was asked for last.
  sparknet::Tensor shown = {};
};
struct sparknet_solver {
  std::shared_ptr<sparknet::Solver> solver;
};
struct sparknet_contribution {
  sparknet::Contribution contribution;
};
struct sparknet_joiner {
  sparknet::ContributionJoiner joiner;
};
struct sparknet_master {
  sparknet::RoundMaster master;
};
struct sparknet_communicator {
  std::shared_ptr<sparknet::Communicator> communicator;
};
struct sparknet_averaging {
  std::shared_ptr<sparknet::Solver> solver;
  std::shared_ptr<sparknet::Communicator> communicator;
  sparknet::AveragingSolver averaging;
};

namespace sparknet::c {

/// Keeps the message of what is being thrown for this thread. Call it in a catch clause.
sparknet_status failed() noexcept;

/// Runs a call's body: what it throws becomes a status.
template <class F>
sparknet_status guard(F&& body) noexcept {
  try {
    body();
    return SPARKNET_OK;
  } catch (...) {
    return failed();
  }
}

/// Throws Error for a null pointer; `what` names it.
void require_given(const void* pointer, const char* what);

template <class T>
T& given(T* handle, const char* what) {
  require_given(handle, what);
  return *handle;
}

/// Throws Error for text of a length that points nowhere.
std::string_view text_of(sparknet_text text, const char* what);

/// Gives the caller what was made.
template <class Handle, class... Parts>
void give(Handle** out, Parts&&... parts) {
  require_given(out, "out");
  *out = new Handle{std::forward<Parts>(parts)...};
}
void give_text(sparknet_bytes** out, std::string_view text);
void give_json(sparknet_bytes** out, const Json& json);

/// The tensor that a caller's memory is; it is borrowed. Throws ShapeError, DTypeError.
Tensor tensor_of(const sparknet_tensor& tensor, const std::string& what);
sparknet_tensor tensor_to(const Tensor& tensor);
Json shape_to(const Shape& shape);

/// The options of averaging that `fields` has; `all` those that need workers who keep something.
AveragingOptions averaging_options(Fields& fields, SolverHistory history, bool all);
Json round_stats(const RoundStats& stats);

/// Copies all weights; throws ShapeError where `bytes` is another number than they have.
void copy_weights_to(const Tensor& arena, void* out, std::size_t bytes);

/// The layer that JSON describes. Throws DataError.
LayerParam layer_from(const Json& json);
/// The types that layer_from knows.
Json layer_types();
/// Whether its tops come from outside of the net.
bool is_input(const LayerParam& layer, Phase phase);
/// Caffe's NetState, and whatever else NetOptions has where `all`.
NetOptions net_options(std::string_view text, bool all, bool phase);
FeedOptions feed_options(std::string_view text);

}  // namespace sparknet::c
