#pragma once

// What RNN and LSTM share: their shapes, their products and the memory for them.

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "sparknet/layers/recurrent.h"

namespace sparknet {

/// The shapes of the tops; `states` are the names of what is carried from step to step.
std::vector<Shape> infer_recurrent(
    const RecurrentOptions& options, std::span<const Shape> in, std::span<const std::string_view> states);

/// Arrays one behind the other on cache lines, each of `count` elements of a size.
class MemoryLayout {
 public:
  explicit MemoryLayout(DType dtype) : element_(size_of(dtype)) {}
  /// The place of an array, in bytes.
  std::size_t add(Dim count) { return add_bytes(static_cast<std::size_t>(count) * element_); }
  std::size_t add_bytes(std::size_t count) {
    const std::size_t at = size_;
    size_ += (count + 63) / 64 * 64;
    return at;
  }
  std::size_t size() const { return size_; }

 private:
  std::size_t element_, size_ = 0;
};

class RunningRecurrent : public Layer {
 protected:
  explicit RunningRecurrent(const RecurrentOptions& options) : options_(options) {}

  /// Reads the shapes; `gates` sums are made for each output, and `states` blobs are exposed.
  void read_shapes(const LayerSetup& setup, Dim gates, std::size_t states);
  void weights(LayerSetup& setup, const char* name, Dim outputs, Dim inputs) const;
  void bias(LayerSetup& setup, const char* name, Dim outputs) const;
  /// Plans a product; `plan_scratch_` grows as it needs.
  std::unique_ptr<kernels::Linear> plan(LayerSetup& setup, Dim rows, Dim inputs, Dim outputs);

  bool has_static() const { return statics_ > 0; }
  /// Elements of one step of the state and of the sums.
  Dim state_step() const { return batch_ * outputs_; }
  Dim sums_step() const { return batch_ * outputs_ * gates_; }
  std::size_t bytes(Dim elements) const { return static_cast<std::size_t>(elements) * element_; }
  /// The gates of the state in a step.
  const std::byte* cont(LayerIO& io, Dim step) const { return io.bottom(1).raw() + bytes(step * batch_); }
  std::size_t first_state() const { return has_static() ? 3 : 2; }
  /// The state before the first step, number `i` of them.
  const std::byte* state_before(LayerIO& io, std::size_t i) const {
    return options_.expose_hidden ? io.bottom(first_state() + i).raw() : kept_[i].get();
  }
  /// Hands out or keeps the state after the last step.
  void set_state_after(LayerIO& io, std::size_t i, const std::byte* from) {
    copy(io, state_step(), from, options_.expose_hidden ? io.top(1 + i).raw() : kept_[i].get());
  }
  std::byte* state_before_diff(LayerIO& io, std::size_t i) const {
    return options_.expose_hidden ? io.bottom_diff(first_state() + i).raw() : nullptr;
  }
  void copy(LayerIO& io, Dim count, const std::byte* from, std::byte* to) const {
    io.backend().copy_rows(1, bytes(count), from, bytes(count), to, bytes(count));
  }
  /// Adds the gradient of step t's sums to that of the static input's part in them; the last step comes first.
  void add_to_static(LayerIO& io, Dim t, const std::byte* sums, std::byte* to) const {
    if (t == steps_ - 1)
      copy(io, sums_step(), sums, to);
    else
      io.backend().axpy(io.dtype(), sums_step(), 1, sums, to);
  }

  /// The number of the parameter that the state is multiplied by.
  std::size_t w_hidden() const { return has_static() ? 3 : 2; }
  /// From the gradient of all steps' sums to those of x, of the static input and of their weights, and of w_hidden().
  /// `gated_h` is what the steps multiplied; `static_sums` the gradient of the static input's part.
  void backward_of_products(LayerIO& io, std::byte* sums, const std::byte* gated_h, std::byte* static_sums);

  RecurrentOptions options_;
  /// Of x in all steps, of the state in one step and in all, and of the static input.
  std::unique_ptr<kernels::Linear> of_x_, of_step_, of_all_steps_, of_static_;
  Dim steps_ = 0, batch_ = 0, inputs_ = 0, statics_ = 0, outputs_ = 0, gates_ = 1;
  std::size_t element_ = 0;
  /// What the plans need, of which only one runs at a time.
  std::size_t plan_scratch_ = 0;
  /// Without expose_hidden: the state after the pass before, which is 0 in the beginning.
  std::vector<std::shared_ptr<std::byte>> kept_;
};

}  // namespace sparknet
