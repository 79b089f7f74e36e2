#include "src/caffe/layers.h"

namespace sparknet::caffe {

template <int states>
std::string recurrent_params(const proto::LayerParameter& layer) {
  const int exposed = layer.recurrent_param().expose_hidden() ? states : 0;
  return std::string("wb") + (layer.bottom_size() > 2 + exposed ? "w" : "") + (states == 1 ? "wwb" : "w");
}
template std::string recurrent_params<1>(const proto::LayerParameter&);
template std::string recurrent_params<2>(const proto::LayerParameter&);

bool has_any_axes(const proto::LayerParameter& layer) {
  const proto::ConvolutionParameter& param = layer.convolution_param();
  return param.force_nd_im2col() || param.axis() != 1 || param.kernel_size_size() > 2 || param.stride_size() > 2 ||
         param.pad_size() > 2 || param.dilation_size() > 2;
}
void mark_any_axes(proto::LayerParameter& layer) {
  layer.mutable_convolution_param()->set_force_nd_im2col(true);
}

std::string_view lacks_pad(const proto::LayerParameter& layer) {
  if (layer.has_filter_param()) return {};
  return "Caffe's Filter gives its tops another number of rows in each pass, and here a top has one shape: the rows "
         "that are not kept are padded. Say with what, a number for each bottom but the selector, as filter_param { "
         "pad: 0 pad: -1 }; for labels that is the ignore_label of the loss";
}
void mark_pad(proto::LayerParameter& layer) {
  layer.mutable_filter_param();
}

}  // namespace sparknet::caffe
