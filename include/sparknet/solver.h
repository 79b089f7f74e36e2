#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sparknet/lr_policy.h"
#include "sparknet/net.h"
#include "sparknet/update_rule.h"

namespace sparknet {

enum class Regularization : std::uint8_t { L2, L1 };

/// What a solver does: Caffe's SolverParameter as data. A count of 0 means never.
struct SolverParam {
  double base_lr = 0.01;
  LrPolicy lr_policy = lr_policy::Fixed{};
  /// Null: sgd(momentum).
  std::shared_ptr<const UpdateRule> rule = nullptr;
  double momentum = 0;
  double weight_decay = 0;
  Regularization regularization = Regularization::L2;
  std::int64_t max_iter = 0;
  /// Passes whose gradients are averaged into one step.
  int iter_size = 1;
  /// Scales the whole gradient down to this L2 norm where it is longer; not above 0: never.
  double clip_gradients = -1;
  /// How many losses the reported one is the mean of.
  int average_loss = 1;
  /// solve() tests whenever the iteration is a multiple of it, before the step, and after the last step.
  std::int64_t test_interval = 0;
  /// Batches of a test.
  int test_iter = 0;
  /// Test before the first step too.
  bool test_initialization = true;
  /// solve() writes a snapshot after every `snapshot` steps, and after the last, where a prefix is given.
  std::int64_t snapshot = 0;
  /// Snapshots are called PREFIX_iter_N.snap.
  std::string snapshot_prefix = {};
  /// solve() reports progress after every `display` steps.
  std::int64_t display = 0;
};

/// The mean of one output over the batches of a test.
struct TestResult {
  std::string output;
  double value;
};

/// What solve() reports; it prints nothing itself.
struct Progress {
  std::int64_t iteration, max_iter;
  /// The mean over the last average_loss steps.
  double loss;
  double rate;
};

struct SolverCallbacks {
  std::function<void(const Progress&)> progress = nullptr;
  /// Before and after each test.
  std::function<void(std::int64_t iteration)> testing = nullptr;
  std::function<void(std::int64_t iteration, const std::vector<TestResult>&)> tested = nullptr;
  std::function<void(const std::filesystem::path&)> snapshotted = nullptr;
  /// Asked after every step but the last: true ends solve() early, with a snapshot and without a test.
  std::function<bool()> stop = nullptr;
};

/// Has the gradients of a step before the solver uses them, as to sum them over workers. Called on the thread that
/// steps.
class GradientHook {
 public:
  virtual ~GradientHook() = default;
  /// The backward pass begins that completes the gradients; with SolverParam::iter_size passes, the last one.
  virtual void begin() = 0;
  /// The gradient of number `param` of Net::params() is complete once the net's device has done what it was asked for
  /// so far. Called once for each that learns, on the whole from the last to the first.
  virtual void ready(std::size_t param) = 0;
  /// When this returns Net::gradient_arena() holds what the update is to use: with iter_size passes, their sum.
  virtual void finish() = 0;
};

/// Trains a net: Caffe's solver. The test net has the same description in the test phase and shares the parameters.
class Solver {
 public:
  /// Throws Error for parameters that make no sense, NetError for such a net. `options.phase` is ignored.
  Solver(SolverParam param, NetParam net, NetOptions options = {});
  ~Solver();
  Solver(Solver&&) noexcept;
  Solver& operator=(Solver&&) noexcept;

  const SolverParam& param() const;
  /// SolverParam::rule, or what stands for it.
  const UpdateRule& rule() const;
  Net& net();
  /// Built when first asked for.
  Net& test_net();

  void set_training_data(SourcePtr source, FeedOptions options = {});
  /// Crop and mirror are not random in a test, whatever the options say.
  void set_test_data(SourcePtr source, FeedOptions options = {});
  void set_callbacks(SolverCallbacks callbacks);
  /// Shows the gradients of every step from now on to `hook`, which outlives that; null: to nobody. On a GPU steps are
  /// no longer repeated as a whole then, and each waits for its loss.
  void set_gradient_hook(GradientHook* hook);

  /// Runs `count` iterations and returns the smoothed loss of the last. Tests and snapshots are solve()'s.
  double step(std::int64_t count = 1);
  /// The outputs' means over test_iter batches, from the beginning of the test data.
  std::vector<TestResult> test();
  /// From the current iteration to max_iter, with tests, snapshots and callbacks.
  void solve();

  std::int64_t iteration() const;
  /// Counts on from another iteration, as where others have trained meanwhile; the learning rate follows it.
  void set_iteration(std::int64_t iteration);
  /// The examples that one iteration sees: the batch, the first dimension of the first input, times iter_size.
  std::int64_t examples_per_step() const;
  /// The learning rate of the next iteration.
  double rate() const;
  /// The update rule's memory: slot number `slot` for the whole parameter arena, of rule().slots().
  Tensor history(int slot = 0) const;
  /// Makes the history what it is before the first step.
  void reset_history();

  /// Writes everything a run needs to go on bit for bit: weights, history, iteration, losses, random state and data
  /// cursor. Atomic: a file of the name is always a whole one. Throws DataError where it cannot be written.
  void snapshot(const std::filesystem::path& file) const;
  /// Goes on from a snapshot. Throws DataError for a file that is no whole snapshot, and one that does not fit the net
  /// says which parameter and both shapes; the solver is then as it was.
  void restore(const std::filesystem::path& file);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sparknet
