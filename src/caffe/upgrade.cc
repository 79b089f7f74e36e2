#include "src/caffe/upgrade.h"

#include <fmt/format.h>

#include <array>
#include <map>
#include <utility>

#include "sparknet/error.h"

namespace sparknet::caffe {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using V0 = proto::V0LayerParameter;
using V1 = proto::V1LayerParameter;
using Type = V1::LayerType;

struct TypeNames {
  Type type;
  std::string_view now, v0;  // v0: empty where 2013 did not have the type
};
constexpr std::array type_names = {
    TypeNames{V1::ABSVAL, "AbsVal", ""},
    TypeNames{V1::ACCURACY, "Accuracy", "accuracy"},
    TypeNames{V1::ARGMAX, "ArgMax", ""},
    TypeNames{V1::BNLL, "BNLL", "bnll"},
    TypeNames{V1::CONCAT, "Concat", "concat"},
    TypeNames{V1::CONTRASTIVE_LOSS, "ContrastiveLoss", ""},
    TypeNames{V1::CONVOLUTION, "Convolution", "conv"},
    TypeNames{V1::DATA, "Data", "data"},
    TypeNames{V1::DECONVOLUTION, "Deconvolution", ""},
    TypeNames{V1::DROPOUT, "Dropout", "dropout"},
    TypeNames{V1::DUMMY_DATA, "DummyData", ""},
    TypeNames{V1::ELTWISE, "Eltwise", ""},
    TypeNames{V1::EUCLIDEAN_LOSS, "EuclideanLoss", "euclidean_loss"},
    TypeNames{V1::EXP, "Exp", ""},
    TypeNames{V1::FLATTEN, "Flatten", "flatten"},
    TypeNames{V1::HDF5_DATA, "HDF5Data", "hdf5_data"},
    TypeNames{V1::HDF5_OUTPUT, "HDF5Output", "hdf5_output"},
    TypeNames{V1::HINGE_LOSS, "HingeLoss", ""},
    TypeNames{V1::IM2COL, "Im2col", "im2col"},
    TypeNames{V1::IMAGE_DATA, "ImageData", "images"},
    TypeNames{V1::INFOGAIN_LOSS, "InfogainLoss", "infogain_loss"},
    TypeNames{V1::INNER_PRODUCT, "InnerProduct", "innerproduct"},
    TypeNames{V1::LRN, "LRN", "lrn"},
    TypeNames{V1::MEMORY_DATA, "MemoryData", ""},
    TypeNames{V1::MULTINOMIAL_LOGISTIC_LOSS, "MultinomialLogisticLoss", "multinomial_logistic_loss"},
    TypeNames{V1::MVN, "MVN", ""},
    TypeNames{V1::POOLING, "Pooling", "pool"},
    TypeNames{V1::POWER, "Power", ""},
    TypeNames{V1::RELU, "ReLU", "relu"},
    TypeNames{V1::SIGMOID, "Sigmoid", "sigmoid"},
    TypeNames{V1::SIGMOID_CROSS_ENTROPY_LOSS, "SigmoidCrossEntropyLoss", ""},
    TypeNames{V1::SILENCE, "Silence", ""},
    TypeNames{V1::SLICE, "Slice", ""},
    TypeNames{V1::SOFTMAX, "Softmax", "softmax"},
    TypeNames{V1::SOFTMAX_LOSS, "SoftmaxWithLoss", "softmax_loss"},
    TypeNames{V1::SPLIT, "Split", "split"},
    TypeNames{V1::TANH, "TanH", "tanh"},
    TypeNames{V1::THRESHOLD, "Threshold", ""},
    TypeNames{V1::WINDOW_DATA, "WindowData", "window_data"},
};

[[noreturn]] void refuse(const std::string& file, const std::string& why) {
  throw DataError(file, -1, why);
}

/// One option of a V0 layer: where it goes, by name, in a layer of such a type. A type may take it in none of its
/// fields and then it is refused.
struct V0Option {
  std::string_view name;
  Type type;  // NONE: of any type
  std::string_view message, field;
};
constexpr std::array v0_options = {
    V0Option{"num_output", V1::CONVOLUTION, "convolution_param", "num_output"},
    V0Option{"num_output", V1::INNER_PRODUCT, "inner_product_param", "num_output"},
    V0Option{"biasterm", V1::CONVOLUTION, "convolution_param", "bias_term"},
    V0Option{"biasterm", V1::INNER_PRODUCT, "inner_product_param", "bias_term"},
    V0Option{"weight_filler", V1::CONVOLUTION, "convolution_param", "weight_filler"},
    V0Option{"weight_filler", V1::INNER_PRODUCT, "inner_product_param", "weight_filler"},
    V0Option{"bias_filler", V1::CONVOLUTION, "convolution_param", "bias_filler"},
    V0Option{"bias_filler", V1::INNER_PRODUCT, "inner_product_param", "bias_filler"},
    V0Option{"pad", V1::CONVOLUTION, "convolution_param", "pad"},
    V0Option{"pad", V1::POOLING, "pooling_param", "pad"},
    V0Option{"kernelsize", V1::CONVOLUTION, "convolution_param", "kernel_size"},
    V0Option{"kernelsize", V1::POOLING, "pooling_param", "kernel_size"},
    V0Option{"group", V1::CONVOLUTION, "convolution_param", "group"},
    V0Option{"stride", V1::CONVOLUTION, "convolution_param", "stride"},
    V0Option{"stride", V1::POOLING, "pooling_param", "stride"},
    V0Option{"pool", V1::POOLING, "pooling_param", "pool"},
    V0Option{"dropout_ratio", V1::DROPOUT, "dropout_param", "dropout_ratio"},
    V0Option{"local_size", V1::LRN, "lrn_param", "local_size"},
    V0Option{"alpha", V1::LRN, "lrn_param", "alpha"},
    V0Option{"beta", V1::LRN, "lrn_param", "beta"},
    V0Option{"k", V1::LRN, "lrn_param", "k"},
    V0Option{"source", V1::DATA, "data_param", "source"},
    V0Option{"source", V1::HDF5_DATA, "hdf5_data_param", "source"},
    V0Option{"source", V1::IMAGE_DATA, "image_data_param", "source"},
    V0Option{"source", V1::WINDOW_DATA, "window_data_param", "source"},
    V0Option{"source", V1::INFOGAIN_LOSS, "infogain_loss_param", "source"},
    V0Option{"scale", V1::NONE, "transform_param", "scale"},
    V0Option{"meanfile", V1::NONE, "transform_param", "mean_file"},
    V0Option{"cropsize", V1::NONE, "transform_param", "crop_size"},
    V0Option{"mirror", V1::NONE, "transform_param", "mirror"},
    V0Option{"batchsize", V1::DATA, "data_param", "batch_size"},
    V0Option{"batchsize", V1::HDF5_DATA, "hdf5_data_param", "batch_size"},
    V0Option{"batchsize", V1::IMAGE_DATA, "image_data_param", "batch_size"},
    V0Option{"batchsize", V1::WINDOW_DATA, "window_data_param", "batch_size"},
    V0Option{"rand_skip", V1::DATA, "data_param", "rand_skip"},
    V0Option{"rand_skip", V1::IMAGE_DATA, "image_data_param", "rand_skip"},
    V0Option{"shuffle_images", V1::IMAGE_DATA, "image_data_param", "shuffle"},
    V0Option{"new_height", V1::IMAGE_DATA, "image_data_param", "new_height"},
    V0Option{"new_width", V1::IMAGE_DATA, "image_data_param", "new_width"},
    V0Option{"concat_dim", V1::CONCAT, "concat_param", "concat_dim"},
    V0Option{"det_fg_threshold", V1::WINDOW_DATA, "window_data_param", "fg_threshold"},
    V0Option{"det_bg_threshold", V1::WINDOW_DATA, "window_data_param", "bg_threshold"},
    V0Option{"det_fg_fraction", V1::WINDOW_DATA, "window_data_param", "fg_fraction"},
    V0Option{"det_context_pad", V1::WINDOW_DATA, "window_data_param", "context_pad"},
    V0Option{"det_crop_mode", V1::WINDOW_DATA, "window_data_param", "crop_mode"},
    V0Option{"hdf5_output_param", V1::HDF5_OUTPUT, "hdf5_output_param", ""},
};

const FieldDescriptor& field_of(const Message& message, std::string_view name) {
  return *message.GetDescriptor()->FindFieldByName(std::string(name));
}

/// Copies a field that is given to one of a like type in another message: set, or added where that one is repeated.
void copy_field(const Message& from, const FieldDescriptor& field, Message& to, const FieldDescriptor& target) {
  const auto& get = *from.GetReflection();
  const auto& set = *to.GetReflection();
  const auto put = [&](auto setter, auto adder, auto value) {
    if (target.is_repeated())
      (set.*adder)(&to, &target, value);
    else
      (set.*setter)(&to, &target, value);
  };
  using R = google::protobuf::Reflection;
  switch (target.cpp_type()) {
    case FieldDescriptor::CPPTYPE_UINT32:
      put(&R::SetUInt32,
          &R::AddUInt32,
          field.cpp_type() == FieldDescriptor::CPPTYPE_INT32 ? static_cast<std::uint32_t>(get.GetInt32(from, &field))
                                                             : get.GetUInt32(from, &field));
      break;
    case FieldDescriptor::CPPTYPE_FLOAT: put(&R::SetFloat, &R::AddFloat, get.GetFloat(from, &field)); break;
    case FieldDescriptor::CPPTYPE_BOOL: put(&R::SetBool, &R::AddBool, get.GetBool(from, &field)); break;
    case FieldDescriptor::CPPTYPE_STRING: set.SetString(&to, &target, get.GetString(from, &field)); break;
    case FieldDescriptor::CPPTYPE_ENUM: set.SetEnumValue(&to, &target, get.GetEnumValue(from, &field)); break;
    case FieldDescriptor::CPPTYPE_MESSAGE:
      set.MutableMessage(&to, &target)->CopyFrom(get.GetMessage(from, &field));
      break;
    default: break;  // the table above has no others
  }
}

/// Removes the padding layers of 2013: the convolution or pooling that reads one pads by itself.
bool fold_padding(proto::NetParameter& net, const std::string& file) {
  const auto is_padding = [](const V1& layer) { return layer.layer().type() == "padding"; };
  google::protobuf::RepeatedPtrField<V1> old;
  old.Swap(net.mutable_layers());
  std::map<std::string, const V1*> writer;  // of each blob, so far; null: an input of the net
  for (const std::string& input : net.input()) writer[input] = nullptr;
  bool folded = false;
  for (const V1& layer : old) {
    const std::string& name = layer.layer().name();
    V1* kept = nullptr;
    if (!is_padding(layer)) *(kept = net.add_layers()) = layer;
    for (int j = 0; j < layer.bottom_size(); ++j) {
      const auto found = writer.find(layer.bottom(j));
      if (found == writer.end())
        refuse(file, fmt::format("layer \"{}\" reads \"{}\", which no layer before it makes", name, layer.bottom(j)));
      const V1* source = found->second;
      if (!source || !is_padding(*source)) continue;
      const std::string& type = layer.layer().type();
      if (type != "conv" && type != "pool")
        refuse(
            file,
            fmt::format("layer \"{}\" of type \"{}\" reads a padding layer; only conv and pool can", name, type));
      if (layer.bottom_size() != 1 || source->bottom_size() != 1 || source->top_size() != 1)
        refuse(
            file,
            fmt::format(
                "padding layer \"{}\" and layer \"{}\" behind it have one bottom each and the first one top",
                source->layer().name(),
                name));
      kept->mutable_layer()->set_pad(source->layer().pad());
      kept->set_bottom(j, source->bottom(0));
      folded = true;
    }
    for (const std::string& top : layer.top()) writer[top] = &layer;
  }
  return folded;
}

/// Options of 2013 go to the message of the layer's type.
void upgrade_v0_layer(V1& layer, const std::string& file) {
  if (!layer.has_layer()) return;
  V0 old;
  old.Swap(layer.mutable_layer());
  layer.clear_layer();
  if (old.has_name()) layer.set_name(old.name());
  if (old.has_type()) {
    const Type type = v0_type(old.type());
    if (type == V1::NONE)
      refuse(file, fmt::format("layer \"{}\" is of type \"{}\", which Caffe never had", old.name(), old.type()));
    layer.set_type(type);
  }
  layer.mutable_blobs()->Swap(old.mutable_blobs());
  layer.mutable_blobs_lr()->Swap(old.mutable_blobs_lr());
  layer.mutable_weight_decay()->Swap(old.mutable_weight_decay());

  std::vector<const FieldDescriptor*> given;
  old.GetReflection()->ListFields(old, &given);
  for (const FieldDescriptor* field : given) {
    if (field->is_repeated() || field->name() == "name" || field->name() == "type") continue;
    const V0Option* option = nullptr;
    for (const V0Option& candidate : v0_options)
      if (candidate.name == field->name() && (candidate.type == layer.type() || candidate.type == V1::NONE))
        option = &candidate;
    if (!option)
      refuse(
          file,
          fmt::format("layer \"{}\": a layer of type \"{}\" has no {}", old.name(), old.type(), field->name()));
    if (option->field.empty()) {
      copy_field(old, *field, layer, field_of(layer, option->message));
      continue;
    }
    Message& target = *layer.GetReflection()->MutableMessage(&layer, &field_of(layer, option->message));
    copy_field(old, *field, target, field_of(target, option->field));
  }
}

/// Caffe's data layers once had these fields in their own messages.
template <class Param>
bool move_transformation(V1& layer, Param& param) {
  bool moved = false;
  proto::TransformationParameter& transform = *layer.mutable_transform_param();
  if (param.has_scale()) transform.set_scale(param.scale()), param.clear_scale(), moved = true;
  if (param.has_mean_file()) transform.set_mean_file(param.mean_file()), param.clear_mean_file(), moved = true;
  if (param.has_crop_size()) transform.set_crop_size(param.crop_size()), param.clear_crop_size(), moved = true;
  if (param.has_mirror()) transform.set_mirror(param.mirror()), param.clear_mirror(), moved = true;
  return moved;
}

bool upgrade_transformation(V1& layer) {
  const bool had_transform = layer.has_transform_param();
  bool moved = false;
  if (layer.type() == V1::DATA && layer.has_data_param())
    moved = move_transformation(layer, *layer.mutable_data_param());
  else if (layer.type() == V1::IMAGE_DATA && layer.has_image_data_param())
    moved = move_transformation(layer, *layer.mutable_image_data_param());
  else if (layer.type() == V1::WINDOW_DATA && layer.has_window_data_param())
    moved = move_transformation(layer, *layer.mutable_window_data_param());
  if (!moved && !had_transform) layer.clear_transform_param();
  return moved;
}

/// A layer with a number for its type becomes one of today's. Its blobs are moved, not copied.
void upgrade_v1_layer(V1& old, proto::LayerParameter& layer) {
  layer.mutable_bottom()->Swap(old.mutable_bottom());
  layer.mutable_top()->Swap(old.mutable_top());
  if (old.has_name()) layer.set_name(old.name());
  layer.mutable_include()->Swap(old.mutable_include());
  layer.mutable_exclude()->Swap(old.mutable_exclude());
  if (old.has_type()) layer.set_type(std::string(type_name(old.type())));
  layer.mutable_blobs()->Swap(old.mutable_blobs());
  const auto param = [&](int i) {
    while (layer.param_size() <= i) layer.add_param();
    return layer.mutable_param(i);
  };
  for (int i = 0; i < old.param_size(); ++i) param(i)->set_name(old.param(i));
  for (int i = 0; i < old.blob_share_mode_size(); ++i)
    param(i)->set_share_mode(
        old.blob_share_mode(i) == V1::STRICT ? proto::ParamSpec::STRICT : proto::ParamSpec::PERMISSIVE);
  for (int i = 0; i < old.blobs_lr_size(); ++i) param(i)->set_lr_mult(old.blobs_lr(i));
  for (int i = 0; i < old.weight_decay_size(); ++i) param(i)->set_decay_mult(old.weight_decay(i));
  layer.mutable_loss_weight()->Swap(old.mutable_loss_weight());

  // convolution_param and all the others have the same names in both.
  std::vector<const FieldDescriptor*> given;
  old.GetReflection()->ListFields(old, &given);
  for (const FieldDescriptor* field : given)
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field->is_repeated())
      copy_field(old, *field, layer, field_of(layer, field->name()));
}

/// `input` and the shapes beside it become a layer, the first one.
void upgrade_inputs(proto::NetParameter& net, const std::string& file) {
  const bool shapes = net.input_shape_size() > 0, dims = net.input_dim_size() > 0;
  if (shapes && net.input_shape_size() != net.input_size())
    refuse(file, fmt::format("the net has {} inputs and {} input_shapes", net.input_size(), net.input_shape_size()));
  if (!shapes && dims && net.input_dim_size() != 4 * net.input_size())
    refuse(
        file,
        fmt::format(
            "the net has {} inputs, and {} input_dims where each input takes 4",
            net.input_size(),
            net.input_dim_size()));
  if (shapes || dims) {
    proto::LayerParameter& layer = *net.add_layer();
    layer.set_name("input");
    layer.set_type("Input");
    for (int i = 0; i < net.input_size(); ++i) {
      layer.add_top(net.input(i));
      proto::BlobShape& shape = *layer.mutable_input_param()->add_shape();
      if (shapes)
        shape = net.input_shape(i);
      else
        for (int j = 0; j < 4; ++j) shape.add_dim(net.input_dim(4 * i + j));
    }
    for (int i = net.layer_size() - 1; i > 0; --i) net.mutable_layer()->SwapElements(i, i - 1);
  }
  net.clear_input();
  net.clear_input_shape();
  net.clear_input_dim();
}

void add(std::string& text, const std::string& more) {
  text += (text.empty() ? "" : "; ") + more;
}

/// A convolution of several bottoms with a top each becomes one for each, which share the parameters; false where there
/// is none. Those after the first are called by the layer's name and their top's.
bool spread_convolutions(proto::NetParameter& net) {
  google::protobuf::RepeatedPtrField<proto::LayerParameter> old;
  old.Swap(net.mutable_layer());
  bool spread = false;
  for (proto::LayerParameter& layer : old) {
    const bool is_convolution = layer.type() == "Convolution" || layer.type() == "Deconvolution";
    if (!is_convolution || layer.bottom_size() < 2 || layer.bottom_size() != layer.top_size()) {
      *net.add_layer() = std::move(layer);
      continue;
    }
    spread = true;
    const int params = layer.convolution_param().bias_term() ? 2 : 1;
    while (layer.param_size() < params) layer.add_param();
    for (int i = 0; i < params; ++i)
      if (proto::ParamSpec& param = *layer.mutable_param(i); param.name().empty())
        param.set_name(fmt::format("{}.{}", layer.name(), i == 0 ? "weights" : "bias"));
    for (int i = 0; i < layer.bottom_size(); ++i) {
      proto::LayerParameter& one = *net.add_layer() = layer;
      if (i > 0) one.set_name(fmt::format("{} of {}", layer.name(), layer.top(i)));
      if (i > 0) one.clear_blobs();
      one.clear_bottom(), one.clear_top(), one.clear_loss_weight(), one.clear_propagate_down();
      one.add_bottom(layer.bottom(i));
      one.add_top(layer.top(i));
      if (i < layer.loss_weight_size()) one.add_loss_weight(layer.loss_weight(i));
      if (i < layer.propagate_down_size()) one.add_propagate_down(layer.propagate_down(i));
    }
  }
  return spread;
}

}  // namespace

std::string_view type_name(Type type) {
  for (const TypeNames& names : type_names)
    if (names.type == type) return names.now;
  return "";
}

Type v0_type(std::string_view name) {
  for (const TypeNames& names : type_names)
    if (!name.empty() && names.v0 == name) return names.type;
  return V1::NONE;
}

std::string upgrade(proto::NetParameter& net, const std::string& file) {
  std::string done;
  bool v0 = false;
  for (const V1& layer : net.layers()) v0 |= layer.has_layer();
  if (v0) {
    const bool folded = fold_padding(net, file);
    for (V1& layer : *net.mutable_layers()) upgrade_v0_layer(layer, file);
    add(done, "layers of 2013 (V0) were made V1");
    if (folded) add(done, "padding layers were folded into the layers behind them");
  }
  bool moved = false;
  for (V1& layer : *net.mutable_layers()) moved |= upgrade_transformation(layer);
  if (moved) add(done, "scale, mean_file, crop_size and mirror were moved from data layers to transform_param");
  if (net.layers_size() > 0) {
    if (net.layer_size() > 0)
      refuse(file, "the net has both `layer` and `layers`; the second is the old form of the first");
    for (V1& layer : *net.mutable_layers()) upgrade_v1_layer(layer, *net.add_layer());
    net.clear_layers();
    add(done, "`layers` (V1) were made `layer`");
  }
  if (net.input_size() > 0) {
    upgrade_inputs(net, file);
    add(done, "`input` fields were made an Input layer");
  }
  bool batch_norm = false;
  for (proto::LayerParameter& layer : *net.mutable_layer()) {
    if (layer.type() != "BatchNorm" || layer.param_size() != 3) continue;
    layer.clear_param();
    batch_norm = true;
  }
  if (batch_norm) add(done, "`param` of BatchNorm layers was left out: what they keep is no matter of learning rates");
  if (spread_convolutions(net))
    add(done, "convolutions of several bottoms were made one for each, with shared weights");
  return done;
}

std::string upgrade(proto::SolverParameter& solver, const std::string& file) {
  std::string done;
  if (solver.has_solver_type()) {
    if (solver.has_type()) refuse(file, "has both `type` and `solver_type`; the second is the old form of the first");
    constexpr std::array names = {"SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"};
    solver.set_type(names[static_cast<std::size_t>(solver.solver_type())]);
    solver.clear_solver_type();
    add(done, "solver_type was made type");
  }
  const auto nested = [&](proto::NetParameter& net) {
    if (const std::string more = upgrade(net, file); !more.empty()) add(done, more);
  };
  if (solver.has_net_param()) nested(*solver.mutable_net_param());
  if (solver.has_train_net_param()) nested(*solver.mutable_train_net_param());
  for (proto::NetParameter& net : *solver.mutable_test_net_param()) nested(net);
  return done;
}

}  // namespace sparknet::caffe
