#include "models.h"
#include "sparknet/layers/accuracy.h"
#include "sparknet/layers/embed.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/lstm.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/softmax_with_loss.h"

namespace example {

using namespace sparknet;

// clang-format off
NetParam captioner(Dim batch, Dim vocabulary, Dim steps, Dim features) {
  const Filler small = Filler::uniform(-0.08, 0.08);
  const RecurrentOptions memory{.num_output = 1000, .weight_filler = small};
  return NetParam("lrcn_caffenet_to_lstm",
      RDDLayer{"image_features", {batch, features}},
      RDDLayer{"input_sentence", {steps, batch}},
      RDDLayer{"cont_sentence", {steps, batch}},
      RDDLayer{"target_sentence", {steps, batch}},
      EmbedLayer{"embedding", {"input_sentence"},
          {.num_output = 1000, .input_dim = vocabulary, .bias = false, .weight_filler = small}},
      LSTMLayer{"lstm1", {"embedding", "cont_sentence"}, memory},
      LSTMLayer{"lstm2", {"lstm1", "cont_sentence", "image_features"}, memory},
      InnerProductLayer{"predict", {"lstm2"},
          {.num_output = vocabulary, .weight_filler = small, .axis = 2, .lr_mult = {1, 2}, .decay_mult = {1, 0}}},
      SoftmaxWithLoss{"cross_entropy_loss", {"predict", "target_sentence"},
          {.ignore_label = -1, .axis = 2, .loss_weight = 20}},
      AccuracyLayer{"accuracy", {"predict", "target_sentence"}, {.axis = 2, .ignore_label = -1}, Include::Test});
}
// clang-format on

}  // namespace example
