#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace sparknet {

/// Calls `work(0)` to `work(count - 1)`, each on a thread of its own, and returns when all have. Throws what the first
/// of them, by number, threw.
void in_parallel(int count, const std::function<void(int)>& work);

/// Values that work side by side, each on a thread of its own: what SparkNet's RDD of nets is in its training loop.
///
///     Workers<Solver> nets(4, [&](int index) {
///       Solver net(solver_param, net_param, {.threads = 1});
///       net.set_training_data(partition(source, index, 4));
///       return net;
///     });
///     for (int round = 0; round < 1000; ++round) {
///       nets.for_each([&](Solver& net) { net.net().set_weights(weights); });
///       weights = mean(nets.map([](Solver& net) { net.step(50); return net.net().weights(); }));
///     }
template <class T>
class Workers {
 public:
  /// make(index) makes value number `index`.
  template <class Make>
  Workers(int count, const Make& make) {
    std::vector<std::optional<T>> made(static_cast<std::size_t>(count));
    in_parallel(count, [&](int index) { made[static_cast<std::size_t>(index)].emplace(make(index)); });
    for (std::optional<T>& value : made) values_.push_back(std::move(*value));
  }

  int size() const { return static_cast<int>(values_.size()); }
  T& operator[](int index) { return values_[static_cast<std::size_t>(index)]; }

  /// work(value) for each.
  template <class Work>
  void for_each(const Work& work) {
    in_parallel(size(), [&](int index) { work((*this)[index]); });
  }

  /// What work(value) returns, in the order of the values.
  template <class Work>
  auto map(const Work& work) {
    using Result = std::invoke_result_t<const Work&, T&>;
    std::vector<std::optional<Result>> made(values_.size());
    in_parallel(size(), [&](int index) { made[static_cast<std::size_t>(index)].emplace(work((*this)[index])); });
    std::vector<Result> results;
    for (std::optional<Result>& value : made) results.push_back(std::move(*value));
    return results;
  }

 private:
  std::vector<T> values_;
};

}  // namespace sparknet
