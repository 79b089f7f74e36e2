#include <cstdlib>

#include "sparknet/caffe/prototxt.h"
#include "tests/fuzz/seeds.h"

namespace {

constexpr const char* net_text = R"(name: "n" force_backward: true
layer { name: "data" type: "Input" top: "data" top: "label" input_param { shape { dim: 4 dim: 1 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 } param { name: "b" decay_mult: 0 }
  convolution_param { num_output: 2 kernel_h: 3 kernel_w: 2 pad: 1 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" relu_param { negative_slope: 0.1 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "label" top: "loss" loss_weight: 0.5
  loss_param { ignore_label: 255 normalization: FULL } include { phase: TRAIN stage: "s" } })";
constexpr const char* old_text = R"(input: "data" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4
layers { name: "ip" type: INNER_PRODUCT bottom: "data" top: "ip" blobs_lr: 1 weight_decay: 0
  inner_product_param { num_output: 3 } }
layers { layer { name: "pad" type: "padding" pad: 2 } bottom: "ip" top: "pad" })";
constexpr const char* solver_text =
    R"(net_param { name: "n" } test_iter: 1 test_interval: 5 base_lr: 0.1 lr_policy: "step"
gamma: 0.1 stepsize: 7 type: "Adam" momentum: 0.9 random_seed: 3 test_state { stage: "s" })";

Bytes bytes(std::string_view text) {
  return Bytes(text.begin(), text.end());
}

/// What was read is written and read as the same; where it cannot be written, that is said.
void check_net(std::string_view text) {
  const sparknet::NetParam net = sparknet::caffe::parse_net(text, "fuzz");
  const sparknet::NetParam again = sparknet::caffe::parse_net(sparknet::caffe::to_prototxt(net), "again");
  // Not-a-numbers are unequal to themselves, and texts are not.
  if (!(again == net) && sparknet::to_string(again) != sparknet::to_string(net)) std::abort();
}

void check_solver(std::string_view text) {
  const sparknet::caffe::SolverFile solver = sparknet::caffe::parse_solver(text, "fuzz");
  const std::string written = sparknet::caffe::to_prototxt(solver);
  if (sparknet::caffe::to_prototxt(sparknet::caffe::parse_solver(written, "again")) != written) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  plant_seeds(*argc, *argv, {bytes(net_text), bytes(old_text), bytes(solver_text)});
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto check : {check_net, check_solver}) {
    try {
      check(text);
    } catch (const sparknet::Error&) {
    }
  }
  return 0;
}
