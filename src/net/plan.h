#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "sparknet/net.h"
#include "src/net/inlet.h"
#include "src/net/memory_plan.h"

namespace sparknet {

/// What Net compiles to. Steps are numbered: layer i runs forward at step i and backward at step 2 n - 1 - i.
struct Net::Plan {
  /// Plans; bind() is what allocates.
  Plan(NetParam net_param, NetOptions net_options);
  /// Takes parameters from `owner`, unless that is null, as Net's constructor says.
  void bind(const Plan* owner);

  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  /// How the elements of a blob lie in memory; as NHWC only where that is not the same as NCHW.
  struct Form {
    DType dtype;
    bool nhwc = false;
    bool operator==(const Form&) const = default;
  };

  struct Blob {
    std::string name;
    Shape shape;
    Form form;
    std::size_t producer = none;
    std::vector<std::size_t> consumers = {};
    /// The blob in whose memory this one lies: itself, or the output of the layer that it is the in-place or fused top
    /// of.
    std::size_t root = none;
    /// The layer that took this blob's values away: one that was fused, or one that runs in place.
    std::size_t overwritten_by = none;
    bool kept = false;
    /// The blobs that are this one in another form, where one was needed.
    std::vector<std::size_t> casts = {};
    bool learns = false, reaches_loss = false, needs_diff = false;
    // Of a blob that is computed again: where it lies in the backward pass.
    std::size_t data_piece = none, again_piece = none, diff_piece = none;
    Tensor data = {}, diff = {};
  };

  /// What a forward pass leaves for the host, followed by the verdicts of the layers that asked for one.
  struct Report {
    double loss;
    /// The first verdict since the host last looked that was not -1, or -1.
    kernels::Index veto;

    kernels::Index* verdicts() { return reinterpret_cast<kernels::Index*>(this + 1); }
    const kernels::Index* verdicts() const { return reinterpret_cast<const kernels::Index*>(this + 1); }
  };

  struct Node {
    LayerParam param;
    std::unique_ptr<Layer> layer;
    /// Of its blobs, but for the bottom of a cast.
    Form form;
    /// Among the layers that were described, from 1 on: what its random numbers depend on. 0: a cast.
    std::uint64_t number = 0;
    std::vector<std::size_t> bottoms = {}, tops = {};
    std::vector<std::size_t> params = {};  // in `layout`
    std::vector<Shape> param_shapes = {};
    // From LayerSetup.
    std::size_t scratch_bytes = 0, state_bytes = 0, prepared_bytes = 0;
    std::size_t in_place_bottoms = 0;
    bool reads_bottoms = true, reads_tops = true, can_recompute = false;
    std::size_t verdict = none;  // in the report
    std::vector<bool> dead_bottoms = {};
    std::vector<double> loss_weights = {};  // one for each top, or none
    // Decided here.
    std::size_t fused_into = none;  // the layer that does this one's work
    std::size_t taken_params = 0;   // those at the end of `params` that fused layers declared
    bool in_place = false, runs_backward = false;
    std::size_t state_piece = none;
    std::vector<std::size_t> sum_pieces =
        {};  // for each bottom: a piece of its own for a gradient that is added to others
    LayerIO io = {};
    std::vector<Tensor> zero_tops = {};                     // gradients that nobody fills
    std::vector<std::pair<Tensor, Tensor>> additions = {};  // (from, to) after backward
    // Another layer has begun a gradient that is this one's too: it adds to all of its own, which are first set to 0.
    bool adds_to_params = false;
    std::vector<Tensor> zero_params = {};
    // Layers whose tops are computed again before this one runs backward, and what of `io` is elsewhere meanwhile.
    std::vector<std::size_t> recomputes = {};
    std::vector<std::pair<Tensor*, Tensor>> backward_tensors = {};

    bool fused() const { return fused_into != none; }
  };

  /// When the values in a root's memory are needed: from step `first` to `last` of the forward pass, and from the first
  /// to the last step of the backward pass that reads them, if one does.
  struct Life {
    int first = 0, last = 0, back_first = Lifetime::forever, back_last = -1;
    bool recomputed = false;
    bool pinned = false;  // another one is computed again from it
  };

  /// The feed of a layer that has its own.
  struct OwnFeed {
    Inlet inlet;
    std::size_t node;
    Dim batch;

    void seek(std::int64_t cursor) {
      if (inlet.feed().cursor() != cursor) inlet.feed().seek(cursor);
    }
  };

  /// How many forward passes may be on their way whose results the host has not seen.
  static constexpr int kReportsAhead = 2;

  int backward_step(std::size_t node) const { return 2 * static_cast<int>(nodes.size()) - 1 - static_cast<int>(node); }

  // compile.cc, in this order
  void connect();
  Form form_of(const Node& node, std::span<const std::size_t> given, std::span<const Shape> tops) const;
  static Form form_of(const Shape& shape, Form wanted);
  std::size_t in_form(std::size_t blob, Form wanted);
  std::size_t add_node(Node node);
  void open_feeds();
  void fuse_layers();
  void set_up_layers();
  void declare_params(std::size_t node, const std::vector<LayerSetup::Param>& declared);
  void find_gradients();
  void run_in_place();
  // lay_out_memory.cc
  std::vector<Life> lives() const;
  void choose_recomputed(std::vector<Life>& lives);
  void lay_out_memory();
  // compile.cc again
  void bind_params(const Plan* owner);
  void bind_blobs();

  /// Lets the layers of a frozen net prepare their parameters, if these have changed.
  void prepare_layers();
  /// A forward pass in parts: the next batch, all layers, and what came of it.
  void take_inputs();
  void run_forward();
  class BackwardTensors;
  /// A backward pass; tells `passed`, unless it is empty, of each layer that is behind it.
  void run_backward(const std::function<void(std::size_t node)>& passed);
  void run_backward(Node& node);
  void tell_observer(const Node& node, bool backward);
  /// Lets what came of the pass begin its way to the host; at most kReportsAhead are on their way.
  void start_report();
  /// The loss of the pass whose report was started first of those.
  double finish_forward();
  std::vector<Tensor> data_of(const std::vector<std::size_t>& of) const;
  const kernels::Index* veto() const { return &static_cast<const Report*>(report_block.get())->veto; }
  [[noreturn]] void refuse(const Report& report);

  void copy_in(const Tensor& value, Tensor& target) const;

  std::shared_ptr<kernels::Backend> make_backend() const;
  /// Zeroed memory that keeps the backend alive; `what` it is for begins what is thrown where there is none.
  std::shared_ptr<void> allocate(std::size_t bytes, const char* what) const;
  NetError error(std::size_t node, std::string_view why) const;
  std::size_t find_blob(std::string_view name) const;
  Tensor read(std::string_view name, bool diff) const;
  void require_inputs() const;

  std::string summary() const;
  std::string dot() const;

  NetParam param;
  NetOptions options;
  std::shared_ptr<kernels::Backend> backend;

  std::vector<Node> nodes;
  std::vector<Blob> blobs;
  std::map<std::string, std::size_t, std::less<>> blob_index;
  std::vector<std::size_t> inputs;  // but for those of layers with a feed of their own
  std::optional<Inlet> inlet;       // of the inputs, once there is data for them
  std::vector<bool> input_given;    // by set_input; without a feed all must be
  std::vector<std::string> outputs;

  std::vector<Lifetime> pieces;
  std::shared_ptr<void> memory_block, scratch_block, prepared_block, report_block;
  std::size_t verdict_count = 0;
  std::unique_ptr<kernels::Download> reports;
  int unread_reports = 0;
  Memory memory;

  std::shared_ptr<std::vector<ParamInfo>> layout = std::make_shared<std::vector<ParamInfo>>();
  std::vector<std::string> share_names;  // of `layout`; empty: not shared
  std::vector<bool> rates_given;         // of `layout`: whether anybody said how it learns
  std::vector<SharedParam> shared_params;
  std::vector<Tensor> param_tensors, gradient_tensors;
  Tensor params, gradients;
  bool shares_all_params = false;
  std::atomic<bool> is_prepared = false;  // const calls in several threads may take it back
  std::vector<Filler> fillers;            // of `layout`
  Dim arena_count = 0;

  std::vector<OwnFeed> own_feeds;
  Observer observer;
  Dim batch = 1;
  std::uint64_t passes = 0;
  int now = -1;  // the last step that ran
  bool has_gradients = false;
};

}  // namespace sparknet
