// docs/design.md shows the regions between `// snippet: NAME` and `// end`.
#include <doctest/doctest.h>

#include <vector>

#include "sparknet/sparknet.h"

using namespace sparknet;

// snippet: siamese
NetParam siamese() {
  const std::vector<ParamSpec> shared = {{"weights"}, {"bias"}};  // parameters of one name are one
  NetParam net(
      "Siamese",
      with(InputLayer{"input", {.shape = {{16, 2, 8, 8}, {16}}}}, {.top = {"pair", "same"}}),
      with(SliceLayer{"slice", {"pair"}}, {.top = {"left", "right"}}),
      with(InnerProductLayer{"ip_l", {"left"}, {.num_output = 10}}, {.param = shared}),
      with(InnerProductLayer{"ip_r", {"right"}, {.num_output = 10}}, {.param = shared}),
      with(ReLULayer{"relu", {"ip_l"}}, {.top = {"ip_l"}}),  // what follows reads the result by the old name
      ContrastiveLoss{"loss", {"ip_l", "ip_r", "same"}},
      with(EuclideanLoss{"pull", {"ip_l", "ip_r"}, {.loss_weight = 0.1}}, {.propagate_down = {true, false}}),
      with(ReductionLayer{"sparse", {"ip_l"}, {.operation = Reduction::ASum}}, {.loss_weight = {1e-4}}),
      with(SilenceLayer{"quiet", {"ip_r"}}, {.exclude = {{.phase = Phase::Test, .stage = {"deploy"}}}}));
  net.force_backward = true;  // the gradient of "pair" as well
  return net;
}
// end

TEST_CASE("the net of docs/design.md") {
  Net net(siamese(), {.keep = {"pair"}});
  REQUIRE(net.params().size() == 2);
  REQUIRE(net.shared_params().size() == 2);
  CHECK(net.shared_params()[1].layer == "ip_r");
  Tensor pair({16, 2, 8, 8});
  Random random(1);
  fill(Filler::gaussian(0, 1), pair, random);
  net.set_input("pair", pair);
  net.set_input("same", Tensor({16}));
  CHECK(net.forward() > 0);
  net.backward();
  CHECK(net.blob_diff("pair").shape() == pair.shape());

  const NetOptions deploy{.phase = Phase::Test, .stages = {"deploy"}};
  CHECK(infer_shapes(siamese(), deploy.state()).size() + 1 == infer_shapes(siamese(), {}).size());
  CHECK(siamese() == siamese());
}
