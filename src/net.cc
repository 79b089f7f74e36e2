#include "sparknet/net.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "src/layer_error.h"
#include "src/net/plan.h"
#include "src/suggest.h"
#include "src/to_host.h"

namespace sparknet {
namespace {

void map(kernels::Backend& backend, const kernels::Map& map, Tensor& tensor) {
  backend.map(tensor.dtype(), map, tensor.count(), tensor.raw(), tensor.raw());
}
void fill(kernels::Backend& backend, double value, Tensor& tensor) {
  map(backend, {.kind = kernels::MapKind::Constant, .a = value}, tensor);
}

Tensor in_nchw(const Tensor& nhwc) {
  const Shape& shape = nhwc.shape();
  const Dim images = shape[0], channels = shape[1], pixels = shape.count(2);
  const std::size_t size = size_of(nhwc.dtype());
  Tensor nchw(shape, nhwc.dtype());
  std::byte* to = nchw.raw();
  for (Dim n = 0; n < images; ++n)
    for (Dim c = 0; c < channels; ++c)
      for (Dim p = 0; p < pixels; ++p, to += size)
        std::memcpy(to, nhwc.raw() + static_cast<std::size_t>((n * pixels + p) * channels + c) * size, size);
  return nchw;
}

}  // namespace

Net::Net(NetParam param, NetOptions options) : plan_(std::make_unique<Plan>(std::move(param), std::move(options))) {
  plan_->bind(nullptr);
}
Net::Net(NetParam param, NetOptions options, const Net& owner)
    : plan_(std::make_unique<Plan>(std::move(param), std::move(options))) {
  plan_->bind(owner.plan_.get());
}
Net::~Net() = default;
Net::Net(Net&&) noexcept = default;
Net& Net::operator=(Net&&) noexcept = default;

const NetParam& Net::param() const {
  return plan_->param;
}
const NetOptions& Net::options() const {
  return plan_->options;
}
int Net::threads() const {
  return plan_->backend->threads();
}
Feed* Net::feed() {
  return plan_->inlet ? &plan_->inlet->feed() : nullptr;
}
const std::vector<std::string>& Net::outputs() const {
  return plan_->outputs;
}
const std::vector<ParamInfo>& Net::params() const {
  return *plan_->layout;
}
Tensor Net::param_arena() const {
  plan_->is_prepared = false;  // the caller may write to them
  return plan_->params;
}
Dim Net::param_arena_count() const {
  return plan_->arena_count;
}
Tensor Net::gradient_arena() const {
  return plan_->gradients;
}
std::uint64_t Net::passes() const {
  return plan_->passes;
}
void Net::set_passes(std::uint64_t passes) {
  plan_->passes = passes;
  if (plan_->options.phase == Phase::Train)
    for (Plan::OwnFeed& own : plan_->own_feeds) own.seek(static_cast<std::int64_t>(passes) * own.batch);
}
bool Net::is_fed() const {
  return plan_->inputs.empty() || plan_->inlet;
}
void Net::rewind() {
  if (plan_->inlet) plan_->inlet->feed().seek(0);
  for (Plan::OwnFeed& own : plan_->own_feeds) own.seek(0);
}
const std::vector<SharedParam>& Net::shared_params() const {
  return plan_->shared_params;
}
const Net::Memory& Net::memory() const {
  return plan_->memory;
}
kernels::Backend& Net::backend() {
  return *plan_->backend;
}
void Net::weights_changed() {
  plan_->is_prepared = false;
}
void Net::set_observer(Observer observer) {
  plan_->observer = std::move(observer);
}
void Net::clear_gradients() {
  plan_->has_gradients = false;
}
Tensor Net::blob(std::string_view name) const {
  return plan_->read(name, false);
}
Tensor Net::blob_diff(std::string_view name) const {
  return plan_->read(name, true);
}
std::string Net::summary() const {
  return plan_->summary();
}
std::string Net::summary(NetParam param, NetOptions options) {
  return Plan(std::move(param), std::move(options)).summary();
}
std::string Net::dot() const {
  return plan_->dot();
}

Dim Net::batch_size() const {
  return plan_->batch;
}

std::vector<std::string> Net::blob_names() const {
  std::vector<std::string> names;
  for (const Plan::Blob& blob : plan_->blobs)
    if (std::find(names.begin(), names.end(), blob.name) == names.end()) names.push_back(blob.name);
  return names;
}

void Net::set_data(SourcePtr source, FeedOptions options) {
  if (plan_->inputs.empty())
    throw NetError(fmt::format("net \"{}\" has no input that can be fed", plan_->param.name), plan_->param.name);
  std::vector<FeedSlot> slots;
  for (const std::size_t input : plan_->inputs)
    slots.push_back({plan_->blobs[input].name, plan_->blobs[input].shape, plan_->options.dtype});
  try {
    Inlet inlet(plan_->options.device, std::move(source), std::move(slots), std::move(options));
    inlet.bind(*plan_->backend, plan_->data_of(plan_->inputs));
    plan_->inlet = std::move(inlet);
  } catch (const DataError& why) {
    throw NetError(fmt::format("net \"{}\" cannot be fed: {}", plan_->param.name, why.what()), plan_->param.name);
  }
}

void Net::set_input(std::string_view name, const Tensor& value) {
  const std::size_t index = plan_->find_blob(name);
  Plan::Blob& blob = plan_->blobs[index];
  const LayerParam& layer = plan_->nodes[blob.producer].param;
  if (plan_->nodes[blob.producer].layer)
    throw layer_error(plan_->param.name, layer, "its blob is computed by the net and is no input to be set");
  if (value.shape() != blob.shape) {
    std::string why = fmt::format(
        "net \"{}\": layer \"{}\" ({}) takes {}, and the batch given to it is {}",
        plan_->param.name,
        layer.name(),
        layer.type(),
        to_string(blob.shape),
        to_string(value.shape()));
    if (const std::string at = place(layer.where()); !at.empty()) why += "\n  at " + at;
    if (!value.shape().empty() && !blob.shape.empty() && value.shape()[0] != blob.shape[0])
      why += fmt::format(
          "\n  the batch size is part of the net: describe it for batches of {}, or feed batches of {}",
          value.shape()[0],
          blob.shape[0]);
    throw NetError(why, plan_->param.name, layer.name(), layer.where());
  }
  plan_->copy_in(value, blob.data);
  for (std::size_t i = 0; i < plan_->inputs.size(); ++i)
    if (plan_->inputs[i] == index) plan_->input_given[i] = true;
}

double Net::forward() {
  while (plan_->unread_reports > 0) plan_->finish_forward();
  plan_->take_inputs();
  plan_->run_forward();
  plan_->start_report();
  return plan_->finish_forward();
}

void Net::Plan::take_inputs() {
  if (inlet)
    inlet->take(veto());
  else
    require_inputs();
  for (OwnFeed& own : own_feeds) own.inlet.take(veto());
}

void Net::Plan::prepare_layers() {
  if (is_prepared) return;
  for (Node& node : nodes)
    if (node.prepared_bytes > 0) node.layer->prepare(node.io);
  is_prepared = true;
}

void Net::Plan::run_forward() {
  prepare_layers();
  const bool on_host = backend->on_host();
  auto* const report = static_cast<Report*>(report_block.get());
  if (options.phase == Phase::Train) ++passes;
  backend->map(DType::F64, {.kind = kernels::MapKind::Constant}, 1, &report->loss, &report->loss);
  std::size_t i = 0;
  try {
    for (; i < nodes.size(); ++i) {
      Node& node = nodes[i];
      if (node.layer && !node.fused()) {
        node.io.step_sequence = node.number << 40 | passes;
        node.layer->forward(node.io);
        if (on_host && node.verdict != none && *node.io.verdict() >= 0) node.layer->refuse(node.io, *node.io.verdict());
        for (std::size_t t = 0; t < node.loss_weights.size(); ++t)
          if (node.loss_weights[t] != 0)
            backend->add_sum(
                node.io.tops[t].dtype(),
                node.io.tops[t].count(),
                node.loss_weights[t],
                node.io.tops[t].raw(),
                &report->loss);
      }
      now = static_cast<int>(i);
      tell_observer(node, false);
    }
  } catch (const BadInput& why) {
    throw error(i, why.what());
  }
  if (!on_host && verdict_count > 0) backend->veto(static_cast<int>(verdict_count), report->verdicts(), &report->veto);
}

void Net::Plan::tell_observer(const Node& node, bool backward) {
  if (!observer) return;
  backend->wait();
  observer(node.param, backward);
}

void Net::Plan::start_report() {
  if (reports) reports->start(report_block.get());
  ++unread_reports;
}

double Net::Plan::finish_forward() {
  --unread_reports;
  if (!reports) return static_cast<const Report*>(report_block.get())->loss;
  const auto& report = *static_cast<const Report*>(reports->finish());
  if (report.veto >= 0) refuse(report);
  return report.loss;
}

void Net::Plan::refuse(const Report& report) {
  const auto layer = static_cast<std::size_t>(report.veto);
  const kernels::Index verdict = report.verdicts()[layer];
  // Passes that were asked for after that one have taken no inputs and changed no parameters.
  for (; unread_reports > 0; --unread_reports) reports->finish();
  const kernels::Index nothing = -1;
  backend->write(&static_cast<Report*>(report_block.get())->veto, &nothing, sizeof nothing);
  const auto node = std::ranges::find(nodes, layer, &Node::verdict);
  const auto index = static_cast<std::size_t>(node - nodes.begin());
  try {
    node->layer->refuse(node->io, verdict);
  } catch (const BadInput& why) {
    throw error(index, why.what());
  }
  throw error(index, "refuses its input");
}

std::vector<Tensor> Net::Plan::data_of(const std::vector<std::size_t>& of) const {
  std::vector<Tensor> tensors;
  for (const std::size_t blob : of) tensors.push_back(blobs[blob].data);
  return tensors;
}

void Net::Plan::copy_in(const Tensor& value, Tensor& target) const {
  const Tensor cast = value.dtype() == target.dtype() ? value : value.cast(target.dtype());
  if (backend->on_host()) {
    target.copy_from(cast);
    return;
  }
  const Tensor dense = cast.is_contiguous() ? cast : cast.copy();
  backend->write(target.raw(), dense.raw(), dense.bytes());
}

void Net::backward() {
  plan_->run_backward(nullptr);
}

void Net::Plan::run_backward(const std::function<void(std::size_t node)>& passed) {
  const int n = static_cast<int>(nodes.size());
  if (options.phase != Phase::Train)
    throw NetError(
        fmt::format("net \"{}\" was built for the test phase and has no backward pass", param.name),
        param.name);
  if (now != n - 1)
    throw NetError(
        fmt::format("net \"{}\": a backward pass follows a forward pass; call forward() first", param.name),
        param.name);
  std::size_t i = nodes.size();
  try {
    while (i-- > 0) {
      Node& node = nodes[i];
      if (node.runs_backward) run_backward(node);
      now = backward_step(i);
      tell_observer(node, true);
      if (passed) passed(i);
    }
  } catch (const BadInput& why) {
    throw error(i, why.what());
  }
  has_gradients = true;
}

/// Lets the inputs and outputs of a layer be where they are in the backward pass.
class Net::Plan::BackwardTensors {
 public:
  explicit BackwardTensors(Node& node) : node_(node) { exchange(); }
  ~BackwardTensors() { exchange(); }
  BackwardTensors(const BackwardTensors&) = delete;
  BackwardTensors& operator=(const BackwardTensors&) = delete;

 private:
  void exchange() {
    for (auto& [tensor, elsewhere] : node_.backward_tensors) std::swap(*tensor, elsewhere);
  }

  Node& node_;
};

void Net::Plan::run_backward(Node& node) {
  for (const std::size_t again : node.recomputes) {
    const BackwardTensors tensors(nodes[again]);
    nodes[again].layer->recompute(nodes[again].io);
  }
  for (Tensor& top : node.zero_tops) fill(*backend, 0, top);
  for (std::size_t t = 0; t < node.loss_weights.size(); ++t)
    if (node.loss_weights[t] != 0)
      map(*backend, {.kind = kernels::MapKind::Affine, .a = 1, .b = node.loss_weights[t]}, node.io.top_diffs[t]);
  if (!has_gradients)
    for (Tensor& gradient : node.zero_params) fill(*backend, 0, gradient);
  node.io.accumulates = has_gradients || node.adds_to_params;
  {
    const BackwardTensors tensors(node);
    node.layer->backward(node.io);
  }
  for (auto& [from, to] : node.additions) backend->axpy(to.dtype(), to.count(), 1, from.raw(), to.raw());
}

WeightCollection Net::weights() const {
  WeightCollection weights(plan_->layout, plan_->arena_count, plan_->options.dtype);
  for (std::size_t i = 0; i < plan_->layout->size(); ++i)
    weights.tensor(i).copy_from(to_host(*plan_->backend, plan_->param_tensors[i]));
  return weights;
}

void Net::set_weights(const WeightCollection& weights) {
  const std::vector<ParamInfo>& ours = *plan_->layout;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const std::vector<ParamInfo>& theirs = weights.layout();
    if (i >= theirs.size() || theirs[i].full_name() != ours[i].full_name())
      throw ShapeError(fmt::format(
          "weights do not fit net \"{}\": parameter {} is {} there and \"{}\" in the net",
          plan_->param.name,
          i,
          i < theirs.size() ? "\"" + theirs[i].full_name() + "\"" : "missing",
          ours[i].full_name()));
    if (theirs[i].shape != ours[i].shape)
      throw ShapeError(fmt::format(
          "weights do not fit net \"{}\": \"{}\" is {} there and {} in the net\n"
          "  to train this layer from scratch, give it another name",
          plan_->param.name,
          ours[i].full_name(),
          to_string(theirs[i].shape),
          to_string(ours[i].shape)));
  }
  if (weights.layout().size() != ours.size())
    throw ShapeError(fmt::format(
        "weights do not fit net \"{}\": they have {} parameters and the net {}; the first one too many is \"{}\"",
        plan_->param.name,
        weights.layout().size(),
        ours.size(),
        weights.layout()[ours.size()].full_name()));
  for (std::size_t i = 0; i < ours.size(); ++i) plan_->copy_in(weights.tensor(i), plan_->param_tensors[i]);
  weights_changed();
}

void Net::Plan::require_inputs() const {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (input_given[i]) continue;
    const std::string& name = blobs[inputs[i]].name;
    throw NetError(
        fmt::format(
            "net \"{}\": nothing was given to input \"{}\"; call set_data(source), or set_input(\"{}\", batch)",
            param.name,
            name,
            name),
        param.name,
        name,
        nodes[blobs[inputs[i]].producer].param.where());
  }
}

std::size_t Net::Plan::find_blob(std::string_view name) const {
  if (const auto found = blob_index.find(name); found != blob_index.end()) return found->second;
  std::vector<std::string> names;
  for (const Blob& blob : blobs) names.push_back(blob.name);
  throw NetError(
      fmt::format("net \"{}\" has no blob \"{}\"{}", param.name, name, did_you_mean(name, names)),
      param.name);
}

Tensor Net::Plan::read(std::string_view name, bool diff) const {
  const Blob& blob = blobs[find_blob(name)];
  const auto fail = [&](const std::string& why) {
    return NetError(
        fmt::format("net \"{}\": the {} \"{}\" {}", param.name, diff ? "gradient of" : "blob", name, why),
        param.name);
  };
  const std::string remedy = fmt::format("; to read it, build the net with .keep = {{\"{}\"}}", name);
  const std::size_t piece = diff ? blob.diff_piece : blob.data_piece;
  if (piece == none) throw fail("is not computed: no parameter that learns depends on it");
  if (!diff && blob.overwritten_by != none && now >= static_cast<int>(blob.overwritten_by))
    throw fail(fmt::format(
        "was overwritten by \"{}\", which {}{}",
        nodes[blob.overwritten_by].param.name(),
        nodes[blob.overwritten_by].fused() ? "is fused with the layer before it" : "runs in place",
        remedy));
  if (diff && blob.root != static_cast<std::size_t>(&blob - blobs.data()))
    throw fail("shares its memory with the layer before it" + remedy);
  if (now < pieces[piece].first) throw fail(diff ? "is there after backward()" : "is there after forward()");
  if (now > pieces[piece].intact_until) throw fail("has given its memory to another" + remedy);
  const Tensor stored = to_host(*backend, diff ? blob.diff : blob.data);
  return blob.form.nhwc ? in_nchw(stored) : stored;
}

}  // namespace sparknet
