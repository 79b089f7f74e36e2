#include "src/caffe/upgrade.h"

#include <doctest/doctest.h>
#include <google/protobuf/text_format.h>

#include "sparknet/error.h"

using namespace sparknet;
using namespace sparknet::caffe;

namespace {

template <class Message>
Message parse_text(const std::string& text) {
  Message message;
  REQUIRE(google::protobuf::TextFormat::ParseFromString(text, &message));
  return message;
}

/// Upgrades one net and wants another and a text.
template <class Message = proto::NetParameter>
void check(const std::string& before, const std::string& after, const std::string& said) {
  Message message = parse_text<Message>(before);
  CHECK(upgrade(message, "file") == said);
  CHECK(message.DebugString() == parse_text<Message>(after).DebugString());
  CHECK(upgrade(message, "file").empty());  // once is enough
}

template <class Message = proto::NetParameter>
std::string trouble(const std::string& text) {
  Message message = parse_text<Message>(text);
  try {
    upgrade(message, "file");
  } catch (const DataError& error) {
    return error.what();
  }
  return "none";
}

}  // namespace

TEST_CASE("a net of today stays as it is") {
  const char* net = R"(name: "n" layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" param { lr_mult: 2 } })";
  check(net, net, "");
}

TEST_CASE("a net of V1 layers") {
  check(
      R"(name: "n" force_backward: true
         layers { name: "data" type: DATA top: "data" top: "label" include { phase: TRAIN }
           data_param { source: "db" batch_size: 64 backend: LMDB scale: 0.5 mean_file: "mean" crop_size: 27 mirror: true } }
         layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1" blobs_lr: 1 blobs_lr: 2 weight_decay: 1
           weight_decay: 0 blobs { num: 1 channels: 1 height: 1 width: 2 data: 1 data: 2 }
           convolution_param { num_output: 20 kernel_size: 5 stride: 1 weight_filler { type: "xavier" } } }
         layers { name: "ip" type: INNER_PRODUCT bottom: "conv1" top: "ip" param: "w" param: "b"
           blob_share_mode: PERMISSIVE inner_product_param { num_output: 2 } }
         layers { name: "loss" type: SOFTMAX_LOSS bottom: "ip" bottom: "label" top: "loss" loss_weight: 0.5
           exclude { stage: "deploy" } loss_param { ignore_label: 3 } softmax_param { engine: CAFFE } })",
      R"(name: "n" force_backward: true
         layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
           data_param { source: "db" batch_size: 64 backend: LMDB }
           transform_param { scale: 0.5 mean_file: "mean" crop_size: 27 mirror: true } }
         layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" param { lr_mult: 1 decay_mult: 1 }
           param { lr_mult: 2 decay_mult: 0 } blobs { num: 1 channels: 1 height: 1 width: 2 data: 1 data: 2 }
           convolution_param { num_output: 20 kernel_size: 5 stride: 1 weight_filler { type: "xavier" } } }
         layer { name: "ip" type: "InnerProduct" bottom: "conv1" top: "ip" param { name: "w" share_mode: PERMISSIVE }
           param { name: "b" } inner_product_param { num_output: 2 } }
         layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" loss_weight: 0.5
           exclude { stage: "deploy" } loss_param { ignore_label: 3 } softmax_param { engine: CAFFE } })",
      "scale, mean_file, crop_size and mirror were moved from data layers to transform_param; `layers` (V1) were made "
      "`layer`");
}

TEST_CASE("every V1 type has a name, and it is the one of Caffe's catalog") {
  const auto* types = proto::V1LayerParameter::LayerType_descriptor();
  for (int i = 0; i < types->value_count(); ++i) {
    const auto type = static_cast<proto::V1LayerParameter::LayerType>(types->value(i)->number());
    CAPTURE(types->value(i)->name());
    CHECK(type_name(type).empty() == (type == proto::V1LayerParameter::NONE));
    // NAME_OF_TYPE without its underscores is the name but for a few.
    std::string plain, name;
    for (const char c : types->value(i)->name())
      if (c != '_') plain += c;
    for (const char c : type_name(type)) name += static_cast<char>(std::toupper(c));
    if (type == proto::V1LayerParameter::SOFTMAX_LOSS) plain = "SOFTMAXWITHLOSS";
    if (type == proto::V1LayerParameter::NONE) plain = "";
    CHECK(name == plain);
  }
}

TEST_CASE("all options of V1 layers are copied") {
  // A layer with every message there is, each with something in it where it has a field of numbers.
  proto::V1LayerParameter all;
  const auto* type = all.GetDescriptor();
  int messages = 0;
  for (int i = 0; i < type->field_count(); ++i) {
    const auto* field = type->field(i);
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE || field->is_repeated() ||
        field->name() == "layer")
      continue;
    all.GetReflection()->MutableMessage(&all, field);
    ++messages;
  }
  proto::NetParameter net;
  *net.add_layers() = all;
  upgrade(net, "file");
  std::vector<const google::protobuf::FieldDescriptor*> given;
  net.layer(0).GetReflection()->ListFields(net.layer(0), &given);
  CHECK(static_cast<int>(given.size()) == messages);
}

TEST_CASE("a net of 2013") {
  check(
      R"(name: "n" input: "in" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
         layers { layer { name: "data" type: "data" source: "db" batchsize: 10 scale: 0.5 meanfile: "mean" cropsize: 227
             mirror: true rand_skip: 5 } top: "data" top: "label" }
         layers { layer { name: "pad1" type: "padding" pad: 2 } bottom: "data" top: "pad1" }
         layers { layer { name: "conv1" type: "conv" num_output: 96 kernelsize: 11 stride: 4 group: 2 biasterm: false
             weight_filler { type: "gaussian" std: 0.01 } bias_filler { type: "constant" } blobs_lr: 1. blobs_lr: 2.
             weight_decay: 1. weight_decay: 0. blobs { num: 1 channels: 1 height: 1 width: 1 data: 7 } }
           bottom: "pad1" top: "conv1" }
         layers { layer { name: "relu1" type: "relu" } bottom: "conv1" top: "conv1" }
         layers { layer { name: "pool1" type: "pool" pool: AVE kernelsize: 3 stride: 2 pad: 1 } bottom: "conv1" top: "pool1" }
         layers { layer { name: "norm1" type: "lrn" local_size: 5 alpha: 0.0001 beta: 0.75 k: 2 } bottom: "pool1" top: "norm1" }
         layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.25 } bottom: "norm1" top: "norm1" }
         layers { layer { name: "cat" type: "concat" concat_dim: 0 } bottom: "norm1" bottom: "norm1" top: "cat" }
         layers { layer { name: "fc" type: "innerproduct" num_output: 10 } bottom: "cat" top: "fc" }
         layers { layer { name: "out" type: "hdf5_output" hdf5_output_param { file_name: "f" } } bottom: "fc" bottom: "label" }
         layers { layer { name: "loss" type: "softmax_loss" } bottom: "fc" bottom: "label" })",
      R"(name: "n"
         layer { name: "input" type: "Input" top: "in" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
         layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "db" batch_size: 10 rand_skip: 5 }
           transform_param { scale: 0.5 mean_file: "mean" crop_size: 227 mirror: true } }
         layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" param { lr_mult: 1 decay_mult: 1 }
           param { lr_mult: 2 decay_mult: 0 } blobs { num: 1 channels: 1 height: 1 width: 1 data: 7 }
           convolution_param { num_output: 96 kernel_size: 11 stride: 4 group: 2 bias_term: false pad: 2
             weight_filler { type: "gaussian" std: 0.01 } bias_filler { type: "constant" } } }
         layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
         layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
           pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
         layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1"
           lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 k: 2 } }
         layer { name: "drop" type: "Dropout" bottom: "norm1" top: "norm1" dropout_param { dropout_ratio: 0.25 } }
         layer { name: "cat" type: "Concat" bottom: "norm1" bottom: "norm1" top: "cat" concat_param { concat_dim: 0 } }
         layer { name: "fc" type: "InnerProduct" bottom: "cat" top: "fc" inner_product_param { num_output: 10 } }
         layer { name: "out" type: "HDF5Output" bottom: "fc" bottom: "label" hdf5_output_param { file_name: "f" } }
         layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" })",
      "layers of 2013 (V0) were made V1; padding layers were folded into the layers behind them; `layers` (V1) were "
      "made "
      "`layer`; `input` fields were made an Input layer");
  check(
      R"(layers { layer { name: "w" type: "window_data" source: "s" batchsize: 2 det_fg_threshold: 0.1
           det_bg_threshold: 0.2 det_fg_fraction: 0.3 det_context_pad: 4 det_crop_mode: "square" } top: "w" }
         layers { layer { name: "i" type: "images" source: "s" batchsize: 2 rand_skip: 3 shuffle_images: true new_height: 4
           new_width: 5 } top: "i" }
         layers { layer { name: "h" type: "hdf5_data" source: "s" batchsize: 2 } top: "h" }
         layers { layer { name: "g" type: "infogain_loss" source: "s" } bottom: "h" bottom: "i" })",
      R"(layer { name: "w" type: "WindowData" top: "w" window_data_param { source: "s" batch_size: 2 fg_threshold: 0.1
           bg_threshold: 0.2 fg_fraction: 0.3 context_pad: 4 crop_mode: "square" } }
         layer { name: "i" type: "ImageData" top: "i" image_data_param { source: "s" batch_size: 2 rand_skip: 3 shuffle: true
           new_height: 4 new_width: 5 } }
         layer { name: "h" type: "HDF5Data" top: "h" hdf5_data_param { source: "s" batch_size: 2 } }
         layer { name: "g" type: "InfogainLoss" bottom: "h" bottom: "i" infogain_loss_param { source: "s" } })",
      "layers of 2013 (V0) were made V1; `layers` (V1) were made `layer`");
}

TEST_CASE("nets of 2013 that Caffe refuses") {
  CHECK(
      trouble(R"(layers { layer { name: "x" type: "deconv" } })") ==
      "file: layer \"x\" is of type \"deconv\", which Caffe never had");
  CHECK(
      trouble(R"(layers { layer { name: "x" type: "relu" num_output: 3 } })") ==
      "file: layer \"x\": a layer of type \"relu\" has no num_output");
  CHECK(
      trouble(R"(layers { layer { name: "x" type: "relu" } bottom: "y" })") ==
      "file: layer \"x\" reads \"y\", which no layer before it makes");
  CHECK(
      trouble(R"(input: "x" layers { layer { name: "p" type: "padding" } bottom: "x" top: "p" }
                   layers { layer { name: "r" type: "relu" } bottom: "p" top: "r" })") ==
      "file: layer \"r\" of type \"relu\" reads a padding layer; only conv and pool can");
  CHECK(
      trouble(R"(input: "x" layers { layer { name: "p" type: "padding" } bottom: "x" bottom: "x" top: "p" }
                   layers { layer { name: "c" type: "conv" } bottom: "p" top: "c" })") ==
      "file: padding layer \"p\" and layer \"c\" behind it have one bottom each and the first one top");
  CHECK(
      trouble(R"(layers { name: "x" } layer { name: "y" })") ==
      "file: the net has both `layer` and `layers`; the second is the old form of the first");
}

TEST_CASE("inputs become a layer") {
  check(
      R"(input: "a" input: "b" input_shape { dim: 1 dim: 2 } input_shape { dim: 3 } layer { name: "x" } layer { name: "y" })",
      R"(layer { name: "input" type: "Input" top: "a" top: "b" input_param { shape { dim: 1 dim: 2 } shape { dim: 3 } } }
         layer { name: "x" } layer { name: "y" })",
      "`input` fields were made an Input layer");
  check(R"(input: "a" layer { name: "x" })", R"(layer { name: "x" })", "`input` fields were made an Input layer");
  CHECK(trouble(R"(input: "a" input: "b" input_shape { dim: 1 })") == "file: the net has 2 inputs and 1 input_shapes");
  CHECK(
      trouble(R"(input: "a" input_dim: 1 input_dim: 2)") ==
      "file: the net has 1 inputs, and 2 input_dims where each input takes 4");
}

TEST_CASE("the multipliers of BatchNorm") {
  check(
      R"(layer { name: "bn" type: "BatchNorm" param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 } }
         layer { name: "bn2" type: "BatchNorm" param { lr_mult: 0 } })",
      R"(layer { name: "bn" type: "BatchNorm" } layer { name: "bn2" type: "BatchNorm" param { lr_mult: 0 } })",
      "`param` of BatchNorm layers was left out: what they keep is no matter of learning rates");
}

TEST_CASE("an old solver") {
  using Solver = proto::SolverParameter;
  check<Solver>("solver_type: ADAGRAD", R"(type: "AdaGrad")", "solver_type was made type");
  check<Solver>("solver_type: SGD", R"(type: "SGD")", "solver_type was made type");
  check<Solver>("solver_type: ADAM", R"(type: "Adam")", "solver_type was made type");
  check<Solver>(R"(type: "SGD")", R"(type: "SGD")", "");
  check<Solver>(
      R"(train_net_param { layers { name: "x" type: RELU } } test_net_param { layers { name: "y" type: TANH } })",
      R"(train_net_param { layer { name: "x" type: "ReLU" } } test_net_param { layer { name: "y" type: "TanH" } })",
      "`layers` (V1) were made `layer`; `layers` (V1) were made `layer`");
  CHECK(
      trouble<Solver>(R"(type: "SGD" solver_type: SGD)") ==
      "file: has both `type` and `solver_type`; the second is the old form of the first");
}
