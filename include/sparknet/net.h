#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sparknet/data/feed.h"
#include "sparknet/device.h"
#include "sparknet/layer.h"
#include "sparknet/net_param.h"
#include "sparknet/weights.h"

namespace sparknet {

struct NetOptions {
  Phase phase = Phase::Train;
  /// F32, or F64 for checks.
  DType dtype = DType::F32;
  Device device = Device::cpu();
  /// On a GPU that can (sm_80 and later): lets convolutions and inner products of F32 round the factors of their
  /// products to TF32, which has 10 bits of fraction instead of 23 and is several times as fast.
  bool tf32 = true;
  /// On a GPU that can (sm_80 and later), in a net of F32: convolutions, inner products and what lies between them work
  /// on blobs and gradients of BF16, which has 8 bits of fraction and takes half of the memory. Products are summed in
  /// F32, and parameters, their gradients, losses and all inputs and outputs of other layers are F32.
  bool bf16 = false;
  /// On a GPU: convolutions of images and what lies between them hold blobs and gradients [N, C, H, W] in memory as
  /// [N, H, W, C], the order that a GPU's matrix units read; the net turns them round where they meet others, and
  /// parameters and what Net::blob gives are as ever. Unset: with bf16.
  std::optional<bool> nhwc = {};
  /// On the CPU: lets convolutions of F32 be done by minimal filtering (Winograd 1980) where that is faster. It rounds
  /// up to three times as much as plain sums do, and lets NaN and infinity into the outputs beside those that they
  /// reach.
  bool winograd = true;
  /// The crew that runs the net, the caller's thread included; 0: one for each core this process may use.
  int threads = 0;
  /// Of the fillers and of dropout.
  std::uint64_t seed = 1;
  /// Let producing layers take over the ReLU that follows them.
  bool fuse = true;
  /// Let blobs whose lives do not overlap share memory.
  bool share_memory = true;
  /// Let the backward pass compute cheap blobs again that would have to be kept for it: less memory, the same bits, and
  /// the time of a pass over each.
  bool recompute = false;
  /// In the test phase: the parameters stay as they are from one forward pass to the next, but for set_weights and
  /// those who call param_arena or weights_changed. So convolutions and inner products take in the batch
  /// normalisations, scales and biases that follow them, and convolutions keep their weights in the form in which
  /// products read them: faster, by the memory for that, and rounded otherwise.
  bool freeze = false;
  /// Blobs to be readable at any time, whatever that costs in memory and fusion.
  std::vector<std::string> keep = {};
  /// With the phase, the state by which NetStateRules take layers in.
  int level = 0;
  std::vector<std::string> stages = {};

  /// Of the layers that bring their own examples each trains on part `part` of `parts`, as partition() cuts them; what
  /// several workers with the same net need.
  int part = 0, parts = 1;

  NetState state() const { return {phase, level, stages}; }
};

/// A parameter that has its numbers in common with one that a layer before it declared; both have the same
/// ParamSpec::name.
struct SharedParam {
  /// The layer that shares, the name the parameter has there, and its number among that layer's parameters.
  std::string layer, name;
  std::size_t position = 0;
  Shape shape = {};
  /// The number of the parameter with the numbers, in Net::params().
  std::size_t owner = 0;

  bool operator==(const SharedParam&) const = default;
};

/// What a NetParam compiles to for a phase, a type and a device: a static plan. Building it decides everything: order,
/// shapes, in-place, fusion, kernels, and one memory plan by liveness; afterwards a step allocates nothing.
/// A net is used from one thread at a time; two nets in two threads do not disturb each other.
class Net {
 public:
  /// Throws NetError for a description that makes no sense, and DeviceError for a device that cannot be had.
  explicit Net(NetParam param, NetOptions options = {});
  /// A net that uses the parameters of `owner` wherever layer, name and shape agree, as a test net does; it keeps
  /// the owner's memory alive.
  Net(NetParam param, NetOptions options, const Net& owner);
  ~Net();
  Net(Net&&) noexcept;
  Net& operator=(Net&&) noexcept;

  const NetParam& param() const;
  const NetOptions& options() const;
  int threads() const;
  /// The first dimension of the first input; 1 where there is none.
  Dim batch_size() const;

  /// Feeds every RDDLayer from the column of its name, a batch for each forward pass. SparkNet's setTrainingData.
  void set_data(SourcePtr source, FeedOptions options = {});
  void set_training_data(SourcePtr source, FeedOptions options = {}) {
    set_data(std::move(source), std::move(options));
  }
  /// The feed of set_data; null where there is none.
  Feed* feed();
  /// Whether every input has a feed: that of set_data, or its layer's own.
  bool is_fed() const;
  /// Lets all feeds begin again at their first example.
  void rewind();
  /// Sets an input once, by copying (any dtype is cast). Throws NetError with both shapes where they disagree.
  void set_input(std::string_view name, const Tensor& value);

  /// Runs all layers and returns the loss: the sum of loss_weight * element over all elements of all tops that have a
  /// loss_weight, 0 where there is none.
  /// Throws NetError where an input was neither set nor is fed, and where a layer refuses its numbers.
  double forward();
  /// Fills, or adds to, the gradients of all parameters; after a forward pass, in the training phase only.
  void backward();
  /// Told of each layer right after its part of forward or backward is done, as to measure it; null: nobody.
  using Observer = std::function<void(const LayerParam& layer, bool backward)>;
  void set_observer(Observer observer);
  /// Says that the gradients were used: the next backward pass overwrites them.
  void clear_gradients();

  /// The values of a blob after the last call of forward or backward; on the cpu, a copy where the net is elsewhere.
  /// Throws NetError for an unknown name (with a suggestion), and for a blob whose memory has been given to another
  /// (NetOptions::keep prevents that).
  Tensor blob(std::string_view name) const;
  /// The gradient of a blob after backward, by the same rules.
  Tensor blob_diff(std::string_view name) const;
  std::vector<std::string> blob_names() const;
  /// Blobs that no layer reads and that are no input: losses, accuracies, scores.
  const std::vector<std::string>& outputs() const;

  /// The layout of the parameters; those that share their numbers are there once.
  const std::vector<ParamInfo>& params() const;
  const std::vector<SharedParam>& shared_params() const;
  /// All parameters in one dense tensor, and their gradients in another, on the net's device. A frozen net sees what
  /// was written to them before its first forward pass after this call.
  Tensor param_arena() const;
  /// Elements of the first, the gaps between parameters included.
  Dim param_arena_count() const;
  Tensor gradient_arena() const;
  WeightCollection weights() const;
  /// Throws ShapeError where the layouts differ, with both shapes and a remedy.
  void set_weights(const WeightCollection& weights);
  /// Says to a frozen net that its parameters are others since its last forward pass, which it cannot know where they
  /// are those of another net or were written through a tensor that somebody kept.
  void weights_changed();

  /// How many training passes have run: with the seed, the state of all randomness in the net, and of the feeds of
  /// layers that have their own.
  std::uint64_t passes() const;
  void set_passes(std::uint64_t passes);

  /// A table: layers, shapes, parameters, what was fused or runs in place, memory.
  std::string summary() const;
  /// The same of a net that is not built: nothing that it names is allocated.
  static std::string summary(NetParam param, NetOptions options = {});
  /// The net as a Graphviz graph.
  std::string dot() const;

  /// Bytes of the plan, all allocated when the net is built.
  struct Memory {
    std::size_t blobs = 0, blobs_unshared = 0, params = 0, gradients = 0, scratch = 0, prepared = 0;
  };
  const Memory& memory() const;

  kernels::Backend& backend();

 private:
  friend class Solver;
  struct Plan;
  std::unique_ptr<Plan> plan_;
};

}  // namespace sparknet
