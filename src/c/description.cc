#include "sparknet/c_handles.h"
#include "sparknet/caffe/prototxt.h"
#include "src/c/handles.h"

using namespace sparknet;
using namespace sparknet::c;

namespace sparknet {

sparknet_net_param* c_handle(NetParam net) {
  return new sparknet_net_param{std::move(net)};
}
sparknet_solver_param* c_handle(SolverParam solver) {
  return new sparknet_solver_param{std::move(solver)};
}

}  // namespace sparknet

sparknet_status sparknet_net_param_parse(sparknet_text prototxt, sparknet_text name, sparknet_net_param** out) {
  return guard([&] { give(out, caffe::parse_net(text_of(prototxt, "prototxt"), std::string(text_of(name, "name")))); });
}

sparknet_status sparknet_net_param_create(sparknet_text name, sparknet_net_param** out) {
  return guard([&] { give(out, NetParam(std::string(text_of(name, "name")))); });
}

sparknet_status sparknet_net_param_add(sparknet_net_param* net, sparknet_text layer) {
  return guard([&] { given(net, "net").param.add(layer_from(parse_json(text_of(layer, "layer"), "a layer"))); });
}

sparknet_status sparknet_layer_types(sparknet_bytes** out) {
  return guard([&] { give_json(out, layer_types()); });
}

sparknet_status sparknet_net_param_prototxt(const sparknet_net_param* net, sparknet_bytes** out) {
  return guard([&] { give_text(out, caffe::to_prototxt(given(net, "net").param)); });
}

sparknet_status sparknet_net_param_text(const sparknet_net_param* net, sparknet_bytes** out) {
  return guard([&] { give_text(out, to_string(given(net, "net").param)); });
}

sparknet_status sparknet_net_param_equal(const sparknet_net_param* a, const sparknet_net_param* b, int32_t* out) {
  return guard([&] { given(out, "out") = given(a, "a").param == given(b, "b").param; });
}

sparknet_status sparknet_net_param_layers(const sparknet_net_param* net, sparknet_text options, sparknet_bytes** out) {
  return guard([&] {
    const NetState state = net_options(text_of(options, "options"), false, true).state();
    const auto shapes = [](const std::vector<Shape>& from) {
      Json list = Json::array();
      for (const Shape& shape : from) list.push_back(shape_to(shape));
      return list;
    };
    Json layers = Json::array();
    for (const InferredLayer& layer : infer_shapes(given(net, "net").param, state))
      layers.push_back(
          {{"name", layer.param.name()},
           {"type", std::string(layer.param.type())},
           {"options", layer.param.options_text()},
           {"input", is_input(layer.param, state.phase)},
           {"bottoms", std::vector<std::string>(layer.param.inputs().begin(), layer.param.inputs().end())},
           {"bottom_shapes", shapes(layer.bottom_shapes)},
           {"tops", layer.tops},
           {"top_shapes", shapes(layer.top_shapes)}});
    give_json(out, layers);
  });
}

void sparknet_net_param_free(sparknet_net_param* net) {
  delete net;
}

sparknet_status sparknet_solver_param_parse(sparknet_text prototxt, sparknet_text name, sparknet_solver_param** out) {
  return guard(
      [&] { give(out, caffe::parse_solver_param(text_of(prototxt, "prototxt"), std::string(text_of(name, "name")))); });
}

void sparknet_solver_param_free(sparknet_solver_param* solver) {
  delete solver;
}
