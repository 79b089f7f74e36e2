#pragma once

// The catalog of what prototxt files know.

#include "sparknet/sparknet.h"
#include "src/caffe/options.h"

namespace sparknet::caffe {

// What is read of messages is defined in layers.cc: what else uses this catalog, the C ABI, does not see protobuf's
// classes.

/// Of an LSTM (`states` 2) or an RNN (1): W_x, b, W_x_static where there is a static input, W_h, and the RNN's W_o,
/// b_o.
template <int states>
std::string recurrent_params(const proto::LayerParameter& layer);

/// Whether a convolution is of another number of spatial axes than two, or says that it may be.
bool has_any_axes(const proto::LayerParameter& layer);
void mark_any_axes(proto::LayerParameter& layer);

/// Caffe's Filter shrinks the batch, which ours does not: a file has to say that it knows.
std::string_view lacks_pad(const proto::LayerParameter& layer);
void mark_pad(proto::LayerParameter& layer);

/// A description of the type with the name and the bottoms. Throws BadInput for bottoms where the type reads none.
template <class L>
L blank(std::string name, std::vector<std::string> bottoms) {
  if constexpr (requires { &L::bottom; }) {
    using Bottom = decltype(L::bottom);
    if constexpr (requires { &L::options; })
      return L{.name = std::move(name), .bottom = Bottom(std::move(bottoms)), .options = {}};
    else
      return L{.name = std::move(name), .bottom = Bottom(std::move(bottoms))};
  } else {
    if (!bottoms.empty())
      throw BadInput("reads " + std::to_string(bottoms.size()) + " bottoms, and its type reads none");
    if constexpr (requires { &L::options; })
      return L{.name = std::move(name), .options = {}};
    else
      return L{.name = std::move(name)};
  }
}

/// Calls visit(Line, LayerType*) for each type of layers: the line that a new one needs. (RDDLayer has none: it shares
/// a type with InputLayer, and catalog.cc knows both.)
template <class V>
void for_each_layer(V&& visit) {
  const auto line = [&]<class L>(L* type, Line of) { visit(std::move(of), type); };
#define LINE(Type, ...) line(static_cast<Type*>(nullptr), Line{__VA_ARGS__})
  LINE(AbsValLayer, "AbsVal");
  LINE(AccuracyLayer, "Accuracy", {"accuracy_param"});
  LINE(ArgMaxLayer, "ArgMax", {"argmax_param"});
  LINE(BatchNormLayer, "BatchNorm", {"batch_norm_param"});
  LINE(BatchReindexLayer, "BatchReindex");
  LINE(BiasLayer, "Bias", {"bias_param"});
  LINE(BNLLLayer, "BNLL");
  LINE(ClipLayer, "Clip", {"clip_param"});
  LINE(ConcatLayer, "Concat", {"concat_param"});
  LINE(ContrastiveLoss, "ContrastiveLoss", {"contrastive_loss_param"});
  LINE(ConvolutionLayer, "Convolution", {"convolution_param"}, {{"kernel", "kernel_size"}, {"bias", "bias_term"}});
  LINE(
      ConvolutionNdLayer,
      .type = "Convolution",
      .messages = {"convolution_param"},
      .renames = {{"kernel", "kernel_size"}, {"bias", "bias_term"}},
      .takes = has_any_axes,
      .mark = mark_any_axes);
  LINE(CropLayer, "Crop", {"crop_param"});
  LINE(DataLayer, "Data", {"transform_param", "data_param"});
  LINE(DeconvolutionLayer, "Deconvolution", {"convolution_param"}, {{"kernel", "kernel_size"}, {"bias", "bias_term"}});
  LINE(
      DeconvolutionNdLayer,
      .type = "Deconvolution",
      .messages = {"convolution_param"},
      .renames = {{"kernel", "kernel_size"}, {"bias", "bias_term"}},
      .takes = has_any_axes,
      .mark = mark_any_axes);
  LINE(DropoutLayer, "Dropout", {"dropout_param"}, {{"ratio", "dropout_ratio"}});
  LINE(DummyDataLayer, "DummyData", {"dummy_data_param"});
  LINE(EltwiseLayer, "Eltwise", {"eltwise_param"});
  LINE(ELULayer, "ELU", {"elu_param"});
  LINE(EmbedLayer, "Embed", {"embed_param"}, {{"bias", "bias_term"}});
  LINE(EuclideanLoss, "EuclideanLoss");
  LINE(ExpLayer, "Exp", {"exp_param"});
  LINE(FilterLayer, .type = "Filter", .messages = {"filter_param"}, .mark = mark_pad, .lacks = lacks_pad);
  LINE(FlattenLayer, "Flatten", {"flatten_param"});
  LINE(GELULayer, "GELU", {"gelu_param"});
  LINE(HDF5DataLayer, "HDF5Data", {"hdf5_data_param"});
  LINE(HDF5OutputLayer, "HDF5Output", {"hdf5_output_param"});
  LINE(HingeLoss, "HingeLoss", {"hinge_loss_param"});
  LINE(Im2colLayer, "Im2col", {"convolution_param"}, {{"kernel", "kernel_size"}});
  LINE(ImageDataLayer, "ImageData", {"transform_param", "image_data_param"});
  LINE(InfogainLoss, "InfogainLoss", {"infogain_loss_param", "loss_param"});
  LINE(InnerProductLayer, "InnerProduct", {"inner_product_param"}, {{"bias", "bias_term"}});
  LINE(InputLayer, "Input", {"input_param"});
  LINE(LayerNormLayer, "LayerNorm", {"layer_norm_param"});
  LINE(LogLayer, "Log", {"log_param"});
  LINE(LRNLayer, "LRN", {"lrn_param"});
  LINE(LSTMLayer, "LSTM", {"recurrent_param"}, {}, recurrent_params<2>);
  LINE(LSTMUnitLayer, "LSTMUnit");
  LINE(MemoryDataLayer, "MemoryData", {"transform_param", "memory_data_param"});
  LINE(MultinomialLogisticLoss, "MultinomialLogisticLoss");
  LINE(MVNLayer, "MVN", {"mvn_param"});
  LINE(ParameterLayer, "Parameter", {"parameter_param"});
  LINE(PermuteLayer, "Permute", {"permute_param"});
  LINE(
      PoolingLayer,
      "Pooling",
      {"pooling_param"},
      {{"pooling", "pool"}, {"kernel", "kernel_size"}, {"global", "global_pooling"}});
  LINE(PowerLayer, "Power", {"power_param"});
  LINE(PReLULayer, "PReLU", {"prelu_param"});
  LINE(ReductionLayer, "Reduction", {"reduction_param"});
  LINE(ReLULayer, "ReLU", {"relu_param"});
  LINE(ReshapeLayer, "Reshape", {"reshape_param"});
  LINE(RNNLayer, "RNN", {"recurrent_param"}, {}, recurrent_params<1>);
  LINE(ScaleLayer, "Scale", {"scale_param"}, {{"bias", "bias_term"}});
  LINE(SigmoidCrossEntropyLoss, "SigmoidCrossEntropyLoss", {"loss_param"});
  LINE(SigmoidLayer, "Sigmoid", {"sigmoid_param"});
  LINE(SilenceLayer, "Silence");
  LINE(SliceLayer, "Slice", {"slice_param"});
  LINE(SoftmaxLayer, "Softmax", {"softmax_param"});
  LINE(SoftmaxWithLoss, "SoftmaxWithLoss", {"softmax_param", "loss_param"});
  LINE(SplitLayer, "Split");
  LINE(SPPLayer, "SPP", {"spp_param"}, {{"pooling", "pool"}});
  LINE(SwishLayer, "Swish", {"swish_param"});
  LINE(TanHLayer, "TanH", {"tanh_param"});
  LINE(ThresholdLayer, "Threshold", {"threshold_param"});
  LINE(TileLayer, "Tile", {"tile_param"});
#undef LINE
}

}  // namespace sparknet::caffe
