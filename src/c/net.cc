#include <fmt/format.h>

#include <filesystem>

#include "sparknet/caffe/weights.h"
#include "sparknet/data/arrow.h"
#include "src/c/handles.h"

using namespace sparknet;
using namespace sparknet::c;

namespace {

Tensor arena_of(const sparknet_net* net) {
  return given(net, "net").net->param_arena();
}

std::filesystem::path path_of(sparknet_text file) {
  const std::string_view name = text_of(file, "file");
  if (name.empty()) throw Error("the file has no name");
  return name;
}

}  // namespace

sparknet_status sparknet_source_from_tensors(
    const sparknet_text* names, const sparknet_tensor* tensors, size_t count, void (*release)(void*), void* context,
    sparknet_source** out) {
  // Until all is well the memory stays the caller's.
  auto mine = std::make_shared<bool>(false);
  return guard([&] {
    require_given(out, "out");
    if (count > 0) require_given(names, "names"), require_given(tensors, "tensors");
    const std::shared_ptr<void> owner(context, [mine, release](void* what) {
      if (*mine && release) release(what);
    });
    std::vector<std::pair<std::string, Tensor>> columns;
    for (std::size_t i = 0; i < count; ++i) {
      const std::string name(text_of(names[i], "names"));
      const Tensor borrowed = tensor_of(tensors[i], fmt::format("column \"{}\"", name));
      columns.emplace_back(
          name,
          Tensor::share(owner, const_cast<std::byte*>(borrowed.raw()), borrowed.shape(), borrowed.dtype()));
    }
    give(out, from_tensors(std::move(columns)));
    *mine = true;
  });
}

sparknet_status sparknet_source_from_arrow(
    struct ArrowArrayStream* stream, sparknet_text columns, sparknet_source** out) {
  return guard([&] {
    require_given(stream, "stream");
    std::vector<ArrowColumn> wanted;
    try {
      require_given(out, "out");
      const Json list = parse_json(text_of(columns, "columns"), "columns");
      if (!list.is_array()) refuse(list, "columns", "a list");
      for (const Json& json : list) {
        Fields fields(json, "columns");
        ArrowColumn& column = wanted.emplace_back();
        fields.require("name", column.name);
        fields.take("column", column.column);
        fields.take("shape", column.shape);
        fields.take("classes", column.classes);
        fields.finish();
      }
    } catch (...) {
      if (stream->release) stream->release(stream);
      throw;
    }
    give(out, from_arrow(stream, std::move(wanted)));
  });
}

sparknet_status sparknet_source_part(
    const sparknet_source* source, int32_t index, int32_t count, sparknet_source** out) {
  return guard([&] { give(out, partition(given(source, "source").source, index, count)); });
}

sparknet_status sparknet_source_size(const sparknet_source* source, int64_t* out) {
  return guard([&] { given(out, "out") = given(source, "source").source->size(); });
}

void sparknet_source_free(sparknet_source* source) {
  delete source;
}

sparknet_status sparknet_net_create(const sparknet_net_param* param, sparknet_text options, sparknet_net** out) {
  return guard([&] {
    give(out, std::make_shared<Net>(given(param, "param").param, net_options(text_of(options, "options"), true, true)));
  });
}

sparknet_status sparknet_net_info(const sparknet_net* net, sparknet_bytes** out) {
  return guard([&] {
    const Net& n = *given(net, "net").net;
    Json inputs = Json::array(), params = Json::array();
    for (const InferredLayer& layer : infer_shapes(n.param(), n.options().state()))
      if (is_input(layer.param, n.options().phase))
        for (std::size_t i = 0; i < layer.tops.size(); ++i)
          inputs.push_back({{"name", layer.tops[i]}, {"shape", shape_to(layer.top_shapes[i])}});
    for (const ParamInfo& info : n.params())
      params.push_back(
          {{"layer", info.layer}, {"name", info.name}, {"shape", shape_to(info.shape)}, {"offset", info.offset}});
    give_json(
        out,
        {{"inputs", inputs},
         {"outputs", n.outputs()},
         {"blobs", n.blob_names()},
         {"batch", n.batch_size()},
         {"dtype", to_string(n.options().dtype)},
         {"params", params},
         {"elements", n.param_arena_count()}});
  });
}

sparknet_status sparknet_net_set_data(sparknet_net* net, const sparknet_source* source, sparknet_text options) {
  return guard([&] {
    given(net, "net").net->set_data(given(source, "source").source, feed_options(text_of(options, "options")));
  });
}

sparknet_status sparknet_net_set_input(sparknet_net* net, sparknet_text name, const sparknet_tensor* value) {
  return guard([&] {
    const std::string_view input = text_of(name, "name");
    given(net, "net").net->set_input(input, tensor_of(given(value, "value"), fmt::format("input \"{}\"", input)));
  });
}

sparknet_status sparknet_net_forward(sparknet_net* net, double* loss) {
  return guard([&] {
    const double sum = given(net, "net").net->forward();
    if (loss) *loss = sum;
  });
}

sparknet_status sparknet_net_backward(sparknet_net* net) {
  return guard([&] { given(net, "net").net->backward(); });
}

sparknet_status sparknet_net_blob(sparknet_net* net, sparknet_text name, sparknet_tensor* out) {
  return guard([&] {
    sparknet_net& n = given(net, "net");
    require_given(out, "out");
    n.shown = n.net->blob(text_of(name, "name"));
    *out = tensor_to(n.shown);
  });
}

sparknet_status sparknet_net_blob_diff(sparknet_net* net, sparknet_text name, sparknet_tensor* out) {
  return guard([&] {
    sparknet_net& n = given(net, "net");
    require_given(out, "out");
    n.shown = n.net->blob_diff(text_of(name, "name"));
    *out = tensor_to(n.shown);
  });
}

sparknet_status sparknet_net_get_weights(const sparknet_net* net, void* out, size_t bytes) {
  return guard([&] { copy_weights_to(arena_of(net), out, bytes); });
}

sparknet_status sparknet_net_set_weights(sparknet_net* net, const void* weights, size_t bytes) {
  return guard([&] {
    Tensor arena = arena_of(net);
    if (bytes != arena.bytes())
      throw ShapeError(fmt::format("{} bytes were given, and the weights take up {}", bytes, arena.bytes()));
    if (bytes == 0) return;
    require_given(weights, "weights");
    arena.copy_from(Tensor::borrow(const_cast<void*>(weights), arena.shape(), arena.dtype()));
  });
}

sparknet_status sparknet_net_load(sparknet_net* net, sparknet_text file, sparknet_bytes** report) {
  return guard([&] {
    const caffe::CopyReport copied = caffe::copy_weights(*given(net, "net").net, path_of(file));
    if (report) give_text(report, to_string(copied));
  });
}

sparknet_status sparknet_net_save(const sparknet_net* net, sparknet_text file) {
  return guard([&] { caffe::write_model(*given(net, "net").net, path_of(file)); });
}

void sparknet_net_free(sparknet_net* net) {
  delete net;
}

sparknet_status sparknet_solver_create(
    const sparknet_solver_param* solver, const sparknet_net_param* net, sparknet_text options, sparknet_solver** out) {
  return guard([&] {
    give(
        out,
        std::make_shared<Solver>(
            given(solver, "solver").param,
            given(net, "net").param,
            net_options(text_of(options, "options"), true, false)));
  });
}

sparknet_status sparknet_solver_net(sparknet_solver* solver, sparknet_net** out) {
  return guard([&] {
    const std::shared_ptr<Solver>& owner = given(solver, "solver").solver;
    give(out, std::shared_ptr<Net>(owner, &owner->net()));
  });
}

sparknet_status sparknet_solver_set_data(
    sparknet_solver* solver, const sparknet_source* source, sparknet_text options) {
  return guard([&] {
    given(solver, "solver")
        .solver->set_training_data(given(source, "source").source, feed_options(text_of(options, "options")));
  });
}

sparknet_status sparknet_solver_set_test_data(
    sparknet_solver* solver, const sparknet_source* source, sparknet_text options) {
  return guard([&] {
    given(solver, "solver")
        .solver->set_test_data(given(source, "source").source, feed_options(text_of(options, "options")));
  });
}

sparknet_status sparknet_solver_step(sparknet_solver* solver, int64_t count, double* loss) {
  return guard([&] {
    const double last = given(solver, "solver").solver->step(count);
    if (loss) *loss = last;
  });
}

sparknet_status sparknet_solver_test(sparknet_solver* solver, sparknet_bytes** out) {
  return guard([&] {
    require_given(out, "out");
    Json means = Json::object();
    for (const TestResult& result : given(solver, "solver").solver->test()) means[result.output] = result.value;
    give_json(out, means);
  });
}

sparknet_status sparknet_solver_iteration(const sparknet_solver* solver, int64_t* out) {
  return guard([&] { given(out, "out") = given(solver, "solver").solver->iteration(); });
}

sparknet_status sparknet_solver_snapshot(const sparknet_solver* solver, sparknet_text file) {
  return guard([&] { given(solver, "solver").solver->snapshot(path_of(file)); });
}

sparknet_status sparknet_solver_restore(sparknet_solver* solver, sparknet_text file) {
  return guard([&] { given(solver, "solver").solver->restore(path_of(file)); });
}

void sparknet_solver_free(sparknet_solver* solver) {
  delete solver;
}
