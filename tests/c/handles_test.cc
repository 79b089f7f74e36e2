#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "sparknet/c_handles.h"
#include "sparknet/sparknet.h"

using namespace sparknet;

namespace {

/// Doubles what it reads; of this program alone.
class RunningDouble final : public Layer {
 public:
  void setup(LayerSetup&) override {}
  void forward(LayerIO& io) override {
    const auto x = io.bottom().span<float>();
    const auto y = io.top().span<float>();
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = 2 * x[i];
  }
  void backward(LayerIO&) override {}
};

struct DoubleLayer {
  static constexpr std::string_view type = "DoubleLayer";
  std::string name;
  Inputs<1> bottom;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const {
    if (in[0].size() != 2) throw BadInput("reads a matrix");
    return in[0];
  }
  std::unique_ptr<Layer> make() const { return std::make_unique<RunningDouble>(); }
  bool operator==(const DoubleLayer&) const = default;
};

sparknet_text text(std::string_view words) {
  return {words.data(), words.size()};
}

std::string message() {
  const sparknet_text words = sparknet_message();
  return std::string(words.data, words.size);
}

}  // namespace

TEST_CASE("a net with a layer of the program's own runs behind the C ABI") {
  sparknet_net_param* param = c_handle(NetParam("own", RDDLayer{"x", {2, 2}}, DoubleLayer{"y", {"x"}}));
  sparknet_net* net = nullptr;
  REQUIRE(sparknet_net_create(param, text("{\"phase\": \"test\"}"), &net) == SPARKNET_OK);
  float values[4] = {1, 2, 3, 4};
  const sparknet_tensor input = {values, SPARKNET_F32, 2, {2, 2}};
  REQUIRE(sparknet_net_set_input(net, text("x"), &input) == SPARKNET_OK);
  REQUIRE(sparknet_net_forward(net, nullptr) == SPARKNET_OK);
  sparknet_tensor output;
  REQUIRE(sparknet_net_blob(net, text("y"), &output) == SPARKNET_OK);
  CHECK(static_cast<const float*>(output.data)[3] == 8);
  sparknet_net_free(net);
  sparknet_net_param_free(param);
}

TEST_CASE("what a layer of the program's own throws comes out as a status") {
  sparknet_net_param* param = c_handle(NetParam("own", RDDLayer{"x", {2}}, DoubleLayer{"y", {"x"}}));
  sparknet_net* net = nullptr;
  CHECK(sparknet_net_create(param, text(""), &net) == SPARKNET_NET_ERROR);
  CHECK(message().find("reads a matrix") != std::string::npos);
  sparknet_bytes* bytes = nullptr;
  CHECK(sparknet_net_param_prototxt(param, &bytes) == SPARKNET_ERROR);
  CHECK(message().find("DoubleLayer") != std::string::npos);
  sparknet_net_param_free(param);
}

TEST_CASE("a solver built in C++ trains behind the C ABI") {
  sparknet_net_param* net = c_handle(NetParam(
      "line",
      RDDLayer{"x", {4, 1}},
      RDDLayer{"y", {4, 1}},
      InnerProductLayer{"ip", {"x"}, {.num_output = 1}},
      EuclideanLoss{"loss", {"ip", "y"}}));
  sparknet_solver_param* param = c_handle(SolverParam{.base_lr = 0.1, .rule = nesterov(0.5), .max_iter = 100});
  sparknet_solver* solver = nullptr;
  REQUIRE(sparknet_solver_create(param, net, text("{\"dtype\": \"f64\"}"), &solver) == SPARKNET_OK);
  double x[4] = {0, 1, 2, 3}, y[4] = {1, 3, 5, 7};
  const sparknet_text names[] = {text("x"), text("y")};
  const sparknet_tensor tensors[] = {{x, SPARKNET_F64, 2, {4, 1}}, {y, SPARKNET_F64, 2, {4, 1}}};
  sparknet_source* source = nullptr;
  REQUIRE(sparknet_source_from_tensors(names, tensors, 2, nullptr, nullptr, &source) == SPARKNET_OK);
  REQUIRE(sparknet_solver_set_data(solver, source, text("")) == SPARKNET_OK);
  sparknet_source_free(source);  // the solver keeps it
  double loss = 1;
  REQUIRE(sparknet_solver_step(solver, 400, &loss) == SPARKNET_OK);
  CHECK(loss < 1e-6);
  sparknet_solver_free(solver);
  sparknet_solver_param_free(param);
  sparknet_net_param_free(net);
}
