#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <new>

#include "kernels/thread_team.h"
#include "src/cuda.h"
#include "src/layer_error.h"
#include "src/net/cast.h"
#include "src/net/plan.h"

namespace sparknet {
namespace {

/// Equal names give equal streams, so a layer's first weights do not depend on the layers around it (FNV-1a).
std::uint64_t stream_of(const std::string& name) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace

Net::Plan::Plan(NetParam net_param, NetOptions net_options)
    : param(std::move(net_param)), options(std::move(net_options)) {
  if (options.dtype != DType::F32 && options.dtype != DType::F64)
    throw NetError(
        fmt::format("net \"{}\": a net computes in f32 or f64, not in {}", param.name, to_string(options.dtype)),
        param.name);
  if (options.threads < 0)
    throw NetError(fmt::format("net \"{}\": {} threads cannot run it", param.name, options.threads), param.name);
  if (options.bf16 && (options.dtype != DType::F32 || options.device.type == Device::Type::Cpu))
    throw NetError(fmt::format("net \"{}\": bf16 is for nets of f32 on a GPU", param.name), param.name);
  if (options.nhwc.value_or(false) && options.device.type == Device::Type::Cpu)
    throw NetError(fmt::format("net \"{}\": nhwc is for nets on a GPU", param.name), param.name);
  if (options.freeze && options.phase != Phase::Test)
    throw NetError(
        fmt::format("net \"{}\": a net that learns cannot be frozen; freeze is for the test phase", param.name),
        param.name);
  if (options.threads == 0) options.threads = kernels::usable_cores();

  connect();
  open_feeds();
  backend = make_backend();
  if (options.bf16 && !backend->takes_bf16())
    throw DeviceError(fmt::format(
        "net \"{}\": {} has no bf16, which GPUs of compute capability 8.0 and later have",
        param.name,
        to_string(options.device)));
  fuse_layers();
  set_up_layers();
  find_gradients();
  run_in_place();
  lay_out_memory();
}

void Net::Plan::bind(const Plan* owner) {
  bind_params(owner);
  bind_blobs();
}

std::shared_ptr<kernels::Backend> Net::Plan::make_backend() const {
  if (options.device.type == Device::Type::Cpu) {
    using kernels::Winograd;
    return kernels::make_cpu_backend(
        options.threads,
        kernels::best_isa(),
        options.winograd ? Winograd::WhereFaster : Winograd::Never);
  }
  try {
    return make_cuda_backend({.device = options.device.index, .tf32 = options.tf32});
  } catch (const DeviceError& why) {
    throw DeviceError(fmt::format("net \"{}\" asks for {}: {}", param.name, to_string(options.device), why.what()));
  }
}

std::shared_ptr<void> Net::Plan::allocate(std::size_t bytes, const char* what) const {
  try {
    void* const made = backend->allocate(std::max<std::size_t>(bytes, 1));
    return {made, [keeper = backend](void* released) { keeper->release(released); }};
  } catch (const std::bad_alloc&) {
    throw Error(fmt::format(
        "net \"{}\": cannot allocate {} bytes for its {}; Net::summary(param, options) shows what it needs",
        param.name,
        bytes,
        what));
  }
}

NetError Net::Plan::error(std::size_t node, std::string_view why) const {
  const LayerParam& layer = nodes[node].param;
  std::vector<InputNote> notes;
  for (const std::size_t b : nodes[node].bottoms)
    notes.push_back({blobs[b].name, blobs[b].shape, nodes[blobs[b].producer].param.where()});
  return layer_error(param.name, layer, why, notes);
}

void Net::Plan::connect() {
  bool has_batch = false;
  std::uint64_t described = 0;
  for (InferredLayer& layer : infer_shapes(param, options.state())) {
    Node node{.param = layer.param, .layer = layer.param.make(), .form = {options.dtype}, .number = ++described};
    std::vector<std::size_t> given;
    for (const std::string& bottom : layer.param.inputs()) given.push_back(blob_index.at(bottom));
    node.form = form_of(node, given, layer.top_shapes);
    for (const std::size_t b : given) node.bottoms.push_back(in_form(b, node.form));
    const std::size_t index = add_node(std::move(node));
    for (std::size_t t = 0; t < layer.tops.size(); ++t) {
      blob_index.insert_or_assign(layer.tops[t], blobs.size());  // of several with one name the last counts
      nodes[index].tops.push_back(blobs.size());
      if (!nodes[index].layer && !has_batch) {
        has_batch = true;
        batch = layer.top_shapes[t].empty() ? 1 : layer.top_shapes[t][0];
      }
      blobs.push_back(
          {.name = layer.tops[t],
           .shape = layer.top_shapes[t],
           .form = form_of(layer.top_shapes[t], nodes[index].form),
           .producer = index,
           .root = blobs.size()});
    }
  }
  if (nodes.empty()) throw NetError(fmt::format("net \"{}\" has no layers in this phase", param.name), param.name);
  for (const std::string& name : options.keep) blobs[find_blob(name)].kept = true;
  for (const Blob& blob : blobs)
    if (blob.consumers.empty() && nodes[blob.producer].layer) outputs.push_back(blob.name);
}

/// Products are worth BF16 and NHWC, and what lies between them stays there; what is summed up to a loss does not.
Net::Plan::Form Net::Plan::form_of(
    const Node& node, std::span<const std::size_t> given, std::span<const Shape> tops) const {
  Form form{options.dtype};
  if (!node.layer || !node.param.extras().loss_weight.empty()) return form;
  const auto all = [&](const auto& is) {
    return std::ranges::all_of(given, [&](std::size_t b) { return is(blobs[b]); });
  };
  if (options.bf16) {
    const May may = node.layer->may_be_bf16(given.size(), tops.size());
    const bool inputs_are = all([](const Blob& blob) { return blob.form.dtype == DType::BF16; });
    if (may == May::Always || (may == May::WhereInputsAre && inputs_are)) form.dtype = DType::BF16;
  }
  const auto is_image = [](const Shape& shape) { return shape.size() == 4; };
  if (options.nhwc.value_or(options.bf16) && std::ranges::all_of(tops, is_image) &&
      all([&](const Blob& blob) { return is_image(blob.shape); })) {
    const May may = node.layer->may_be_nhwc(given.size(), tops.size());
    const bool inputs_are = all([](const Blob& blob) {
      return form_of(blob.shape, {blob.form.dtype, true}) == blob.form;
    });
    form.nhwc = may == May::Always || (may == May::WhereInputsAre && inputs_are);
  }
  return form;
}

Net::Plan::Form Net::Plan::form_of(const Shape& shape, Form wanted) {
  wanted.nhwc = wanted.nhwc && shape[1] != 1 && shape.count(2) != 1;
  return wanted;
}

/// The blob, or a cast of it. Of several readers the first brings that about.
std::size_t Net::Plan::in_form(std::size_t blob, Form wanted) {
  const Form form = form_of(blobs[blob].shape, wanted), old = blobs[blob].form;
  if (form == old) return blob;
  for (const std::size_t cast : blobs[blob].casts)
    if (blobs[cast].form == form) return cast;
  const std::string order = form.nhwc == old.nhwc ? "" : form.nhwc ? " nhwc" : " nchw";
  CastLayer description{
      .name = fmt::format(
          "{} in{}{}",
          blobs[blob].name,
          form.dtype == old.dtype ? "" : fmt::format(" {}", to_string(form.dtype)),
          order),
      .bottom = {blobs[blob].name},
      .from_nhwc = old.nhwc,
      .to_nhwc = form.nhwc,
      .where = nodes[blobs[blob].producer].param.where()};
  Node node{.param = description, .layer = description.make(), .form = form, .bottoms = {blob}};
  const std::size_t index = add_node(std::move(node)), made = blobs.size();
  nodes[index].tops = {made};
  blobs.push_back(
      {.name = blobs[blob].name, .shape = blobs[blob].shape, .form = form, .producer = index, .root = made});
  blobs[blob].casts.push_back(made);
  return made;
}

std::size_t Net::Plan::add_node(Node node) {
  for (const std::size_t b : node.bottoms) blobs[b].consumers.push_back(nodes.size());
  nodes.push_back(std::move(node));
  return nodes.size() - 1;
}

void Net::Plan::open_feeds() {
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    Node& node = nodes[i];
    if (node.layer || node.tops.empty()) continue;
    std::optional<LayerFeed> own;
    try {
      own = node.param.feed(options.phase);
    } catch (const BadInput& why) {
      throw error(i, why.what());
    }
    if (!own) {
      inputs.insert(inputs.end(), node.tops.begin(), node.tops.end());
      continue;
    }
    if (!own->source) throw error(i, "has a feed without a source");
    const std::vector<Column>& columns = own->source->columns();
    if (columns.size() < node.tops.size())
      throw error(
          i,
          fmt::format(
              "has {} tops, and its source has {} {}",
              node.tops.size(),
              columns.size(),
              columns.size() == 1 ? "column" : "columns"));
    if (own->options.seed == 0) own->options.seed = options.seed;
    std::vector<FeedSlot> slots;
    for (std::size_t t = 0; t < node.tops.size(); ++t)
      slots.push_back({columns[t].name, blobs[node.tops[t]].shape, options.dtype});
    const Shape& shape = blobs[node.tops[0]].shape;
    try {
      if (options.phase == Phase::Train && options.parts != 1)
        own->source = partition(std::move(own->source), options.part, options.parts);
      own_feeds.push_back(
          {Inlet(options.device, std::move(own->source), std::move(slots), std::move(own->options)),
           i,
           shape.empty() ? 1 : shape[0]});
    } catch (const Error& why) {
      throw error(i, why.what());
    }
  }
}

void Net::Plan::fuse_layers() {
  if (!options.fuse) return;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    Node& node = nodes[i];
    if (!node.layer || node.bottoms.size() != 1) continue;
    const auto relu = node.layer->as_relu();
    const auto scale = node.layer->as_scale();
    const auto affine = options.freeze ? node.layer->as_affine(options.phase) : std::nullopt;
    if (!relu && !scale && !affine) continue;
    Blob& bottom = blobs[node.bottoms[0]];
    const Node& before = nodes[bottom.producer];
    const std::size_t into = before.fused() ? before.fused_into : bottom.producer;
    Node& taker = nodes[into];
    if (!taker.layer || taker.tops.size() != 1 || bottom.consumers.size() != 1 || bottom.kept) continue;
    // A fused layer has no gradient and no loss of its own.
    const LayerExtras &mine = node.param.extras(), &others = before.param.extras();
    if (!mine.propagate_down.empty() || !mine.loss_weight.empty() || !others.loss_weight.empty()) continue;
    const auto take_over = [&] {
      if (relu) return !(before.fused() && before.layer->as_relu()) && taker.layer->fuse(*relu);
      if (affine && taker.layer->fuse_affine(*affine, blobs[taker.tops[0]].shape)) return true;
      return scale && !before.fused() && taker.layer->fuse_scale(*scale, blobs[taker.bottoms[0]].shape, *backend);
    };
    if (!take_over()) continue;
    node.fused_into = into;
    blobs[node.tops[0]].root = bottom.root;
    bottom.overwritten_by = i;
  }
}

void Net::Plan::set_up_layers() {
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    Node& node = nodes[i];
    node.dead_bottoms.assign(node.bottoms.size(), false);
    node.loss_weights = node.param.extras().loss_weight;
    if (!node.layer && std::ranges::any_of(node.loss_weights, [](double weight) { return weight != 0; }))
      throw error(i, "is an input and cannot be a loss");
    if (!node.layer) continue;
    std::vector<Shape> bottom_shapes, top_shapes;
    for (const std::size_t b : node.bottoms) bottom_shapes.push_back(blobs[b].shape);
    for (const std::size_t t : node.tops) top_shapes.push_back(blobs[t].shape);
    LayerSetup
        setup(bottom_shapes, top_shapes, node.form.dtype, options.phase, *backend, options.freeze, node.form.nhwc);
    try {
      node.layer->setup(setup);
    } catch (const BadInput& why) {
      throw error(i, why.what());
    }
    if (node.fused()) {
      declare_params(i, setup.params);
      Node& taker = nodes[node.fused_into];
      taker.taken_params += node.params.size();
      taker.params.insert(taker.params.end(), node.params.begin(), node.params.end());
      taker.param_shapes.insert(taker.param_shapes.end(), node.param_shapes.begin(), node.param_shapes.end());
      continue;
    }
    node.scratch_bytes = setup.scratch_bytes;
    node.state_bytes = setup.state_bytes;
    node.prepared_bytes = (setup.prepared_bytes + 63) / 64 * 64;
    node.reads_bottoms = setup.reads_bottoms;
    node.reads_tops = setup.reads_tops;
    node.can_recompute = setup.can_recompute;
    node.in_place_bottoms = setup.in_place_bottoms;
    if (setup.has_verdict) node.verdict = verdict_count++;
    if (setup.loss_weight && blobs[node.tops.at(0)].shape.count() != 1)
      throw error(i, fmt::format("a loss has one element, not the shape {}", to_string(blobs[node.tops[0]].shape)));
    if (setup.loss_weight && node.loss_weights.empty()) {
      node.loss_weights.assign(node.tops.size(), 0);
      node.loss_weights[0] = *setup.loss_weight;
    }
    for (const std::size_t b : setup.dead_bottoms) node.dead_bottoms.at(b) = true;
    const std::vector<bool>& propagate_down = node.param.extras().propagate_down;
    for (std::size_t b = 0; b < propagate_down.size(); ++b) {
      if (propagate_down[b] && node.dead_bottoms[b])
        throw error(
            i,
            fmt::format(
                "has no gradient for its input \"{}\", and propagate_down asks for it",
                blobs[node.bottoms[b]].name));
      if (!propagate_down[b]) node.dead_bottoms[b] = true;
    }
    declare_params(i, setup.params);
  }
}

void Net::Plan::declare_params(std::size_t index, const std::vector<LayerSetup::Param>& declared) {
  Node& node = nodes[index];
  const std::vector<ParamSpec>& specs = node.param.extras().param;
  if (specs.size() > declared.size())
    throw error(index, fmt::format("has {} parameters, and something is said of {}", declared.size(), specs.size()));
  const Dim per_border = 64 / static_cast<Dim>(size_of(options.dtype));
  for (std::size_t i = 0; i < declared.size(); ++i) {
    const LayerSetup::Param& p = declared[i];
    const ParamSpec spec = i < specs.size() ? specs[i] : ParamSpec();
    const auto choose = [&](const char* what, double own, std::optional<double> said) {
      if (said && own != 1 && own != *said)
        throw error(
            index,
            fmt::format("has the {} {} for its \"{}\", and is told {} beside", what, own, p.name, *said));
      const double chosen = said.value_or(own);
      if (!std::isfinite(chosen)) throw error(index, fmt::format("has the {} {} for its \"{}\"", what, chosen, p.name));
      return chosen;
    };
    const double lr = choose("lr_mult", p.lr_mult, spec.lr_mult);
    const double decay = choose("decay_mult", p.decay_mult, spec.decay_mult);
    const bool given = spec.lr_mult || spec.decay_mult || p.lr_mult != 1 || p.decay_mult != 1;
    node.param_shapes.push_back(p.shape);

    const auto same =
        spec.name.empty() ? share_names.end() : std::find(share_names.begin(), share_names.end(), spec.name);
    if (same == share_names.end()) {
      node.params.push_back(layout->size());
      layout->push_back({node.param.name(), p.name, p.shape, arena_count, lr, decay});
      share_names.push_back(spec.name);
      rates_given.push_back(given);
      fillers.push_back(p.filler);
      arena_count += (p.shape.count() + per_border - 1) / per_border * per_border;
      continue;
    }
    const auto owner = static_cast<std::size_t>(same - share_names.begin());
    ParamInfo& info = (*layout)[owner];
    const std::string shares = fmt::format("\"{}\", which is \"{}\" as {} is", p.name, spec.name, info.full_name());
    const bool same_count = info.shape.count() == p.shape.count();
    if (spec.share_mode == ShareMode::Strict ? info.shape != p.shape : !same_count)
      throw error(
          index,
          fmt::format(
              "has the shape {} for its {}, of shape {}{}",
              to_string(p.shape),
              shares,
              to_string(info.shape),
              same_count ? "; ShareMode::Permissive wants equal counts only" : ""));
    if (given && rates_given[owner] && (lr != info.lr_mult || decay != info.decay_mult))
      throw error(
          index,
          fmt::format(
              "has lr_mult {} and decay_mult {} for its {}, with {} and {}",
              lr,
              decay,
              shares,
              info.lr_mult,
              info.decay_mult));
    if (given && !rates_given[owner]) {
      info.lr_mult = lr, info.decay_mult = decay;
      rates_given[owner] = true;
    }
    node.params.push_back(owner);
    shared_params.push_back({node.param.name(), p.name, i, p.shape, owner});
  }
}

void Net::Plan::find_gradients() {
  if (options.phase != Phase::Train) return;
  const auto learning = [&](const Node& node) {
    return std::any_of(node.params.begin(), node.params.end(), [&](std::size_t p) {
      return (*layout)[p].lr_mult != 0;
    });
  };
  for (const Node& node : nodes) {
    bool learns = learning(node) || param.force_backward;
    const std::vector<bool>& propagate_down = node.param.extras().propagate_down;
    for (std::size_t b = 0; b < node.bottoms.size(); ++b) {
      Blob& bottom = blobs[node.bottoms[b]];
      if (b < propagate_down.size() && propagate_down[b]) bottom.learns = true;
      learns = learns || (bottom.learns && !node.dead_bottoms[b]);
    }
    for (const std::size_t t : node.tops) blobs[t].learns = learns;
  }
  for (std::size_t i = nodes.size(); i-- > 0;) {
    Node& node = nodes[i];
    for (std::size_t t = 0; t < node.loss_weights.size(); ++t)
      if (node.loss_weights[t] != 0) blobs[node.tops[t]].reaches_loss = true;
    const bool reaches =
        std::any_of(node.tops.begin(), node.tops.end(), [&](std::size_t t) { return blobs[t].reaches_loss; });
    if (!reaches) continue;
    bool useful = learning(node);
    for (std::size_t b = 0; b < node.bottoms.size(); ++b) {
      if (node.dead_bottoms[b]) continue;
      Blob& bottom = blobs[node.bottoms[b]];
      bottom.reaches_loss = true;
      bottom.needs_diff = bottom.learns;
      useful = useful || bottom.learns;
    }
    node.runs_backward = useful && node.layer && !node.fused();
    // A loss's own gradient is its weight; without a consumer nobody else asks for it.
    if (node.runs_backward)
      for (const std::size_t t : node.tops) blobs[t].needs_diff = true;
  }
}

void Net::Plan::run_in_place() {
  const auto can_lose = [&](const Blob& blob) {
    const Node& producer = nodes[blobs[blob.root].producer];
    if (!producer.layer || blob.consumers.size() != 1 || blob.kept) return false;
    // The memory has had one writer since `producer`, or an in-place layer between them that must not lose it either.
    const Node& writer = nodes[blob.producer];
    return !(producer.runs_backward && producer.reads_tops) && !(writer.runs_backward && writer.reads_tops);
  };
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    Node& node = nodes[i];
    if (node.tops.size() != 1 || (node.runs_backward && node.reads_bottoms)) continue;
    for (std::size_t b = 0; b < std::min(node.in_place_bottoms, node.bottoms.size()) && !node.in_place; ++b) {
      Blob& bottom = blobs[node.bottoms[b]];
      if (!can_lose(bottom)) continue;
      node.in_place = true;
      // Its top, and those of the layers that were fused into it.
      for (Blob& blob : blobs)
        if (blob.root == node.tops[0]) blob.root = bottom.root;
      bottom.overwritten_by = i;
    }
  }
}

void Net::Plan::bind_params(const Plan* owner) {
  const auto find_shared = [&](std::size_t at) -> const Tensor* {
    const ParamInfo& wanted = (*layout)[at];
    if (!owner || owner->options.dtype != options.dtype) return nullptr;
    for (std::size_t i = 0; i < owner->layout->size(); ++i) {
      const ParamInfo& p = (*owner->layout)[i];
      const bool same = share_names[at].empty() ? p.layer == wanted.layer && p.name == wanted.name
                                                : share_names[at] == owner->share_names[i];
      if (same && p.shape == wanted.shape) return &owner->param_tensors[i];
    }
    return nullptr;
  };
  const auto tensor_at = [&](const std::shared_ptr<void>& block, const ParamInfo& info) {
    std::byte* data =
        static_cast<std::byte*>(block.get()) + static_cast<std::size_t>(info.offset) * size_of(options.dtype);
    return Tensor::share(block, data, info.shape, options.dtype, options.device);
  };

  std::vector<const Tensor*> shared;
  for (std::size_t i = 0; i < layout->size(); ++i) shared.push_back(find_shared(i));
  shares_all_params = owner && *owner->layout == *layout && !std::count(shared.begin(), shared.end(), nullptr);
  if (shares_all_params) {
    memory.params = 0;
    params = owner->params;
    param_tensors = owner->param_tensors;
  } else {
    const std::shared_ptr<void> block = allocate(memory.params, "parameters");
    params = Tensor::share(block, block.get(), Shape(arena_count), options.dtype, options.device);
    for (std::size_t i = 0; i < layout->size(); ++i) {
      const ParamInfo& info = (*layout)[i];
      param_tensors.push_back(shared[i] ? *shared[i] : tensor_at(block, info));
      if (shared[i]) continue;
      Random random(options.seed, stream_of(info.full_name()));
      try {
        Tensor& target = param_tensors.back();
        Tensor made = backend->on_host() ? target : Tensor(target.shape(), target.dtype());
        fill(fillers[i], made, random);
        copy_in(made, target);
      } catch (const Error& why) {
        throw NetError(
            fmt::format("net \"{}\", parameter \"{}\": {}", param.name, info.full_name(), why.what()),
            param.name,
            info.layer);
      }
    }
  }

  gradient_tensors.resize(layout->size());
  if (options.phase != Phase::Train) return;
  const std::shared_ptr<void> block = allocate(memory.gradients, "gradients");
  gradients = Tensor::share(block, block.get(), Shape(arena_count), options.dtype, options.device);
  for (std::size_t i = 0; i < layout->size(); ++i)
    if ((*layout)[i].lr_mult != 0) gradient_tensors[i] = tensor_at(block, (*layout)[i]);
}

void Net::Plan::bind_blobs() {
  memory_block = allocate(memory.blobs, "blobs");
  scratch_block = allocate(memory.scratch, "scratch memory");
  if (memory.prepared > 0) prepared_block = allocate(memory.prepared, "prepared weights");
  const std::size_t report_bytes = sizeof(Report) + verdict_count * sizeof(kernels::Index);
  report_block = allocate(report_bytes, "report");
  const std::vector<kernels::Index> no_verdict(report_bytes / sizeof(kernels::Index), -1);
  backend->write(report_block.get(), no_verdict.data(), report_bytes);
  if (!backend->on_host()) reports = backend->download(report_bytes, kReportsAhead);
  const auto at = [&](std::size_t piece) { return static_cast<std::byte*>(memory_block.get()) + pieces[piece].offset; };
  const auto tensor_at = [&](std::size_t piece, const Blob& blob) {
    return Tensor::share(memory_block, at(piece), blob.shape, blob.form.dtype, options.device);
  };
  // A root comes before the others in its memory, and may have no gradient where they have: so last.
  for (std::size_t b = blobs.size(); b-- > 0;) {
    Blob& blob = blobs[b];
    blob.data_piece = blobs[blob.root].data_piece;
    blob.diff_piece = blob.needs_diff ? blobs[blob.root].diff_piece : none;
    blob.data = tensor_at(blob.data_piece, blob);
    if (blob.diff_piece != none) blob.diff = tensor_at(blob.diff_piece, blob);
  }
  for (OwnFeed& own : own_feeds) own.inlet.bind(*backend, data_of(nodes[own.node].tops));
  input_given.assign(inputs.size(), false);

  std::size_t prepared_at = 0;
  std::vector<bool> filled(blobs.size(), false), begun(layout->size(), false);
  for (std::size_t i = nodes.size(); i-- > 0;) {
    Node& node = nodes[i];
    if (node.fused()) filled[node.bottoms[0]] = filled[node.tops[0]];
    if (!node.layer || node.fused()) continue;
    LayerIO& io = node.io;
    for (std::size_t b = 0; b < node.bottoms.size(); ++b) {
      const Blob& bottom = blobs[node.bottoms[b]];
      io.bottoms.push_back(bottom.data);
      Tensor diff;
      if (node.runs_backward && bottom.needs_diff && !node.dead_bottoms[b]) {
        const std::size_t sum = node.sum_pieces[b];
        diff = sum == none ? bottom.diff : tensor_at(sum, bottom);
        if (sum != none) node.additions.emplace_back(diff, bottom.diff);
        filled[node.bottoms[b]] = true;
      }
      io.bottom_diffs.push_back(diff);
    }
    for (const std::size_t t : node.tops) {
      io.tops.push_back(blobs[t].data);
      io.top_diffs.push_back(blobs[t].diff);
      if (node.runs_backward && !filled[t]) node.zero_tops.push_back(blobs[t].diff);
    }
    const std::vector<bool> begun_before = begun;
    for (std::size_t p = 0; p < node.params.size(); ++p) {
      const std::size_t number = node.params[p];
      const auto view = [&](const Tensor& of) { return of.defined() ? of.reshape(node.param_shapes[p]) : Tensor(); };
      io.params.push_back(view(param_tensors[number]));
      io.param_diffs.push_back(view(gradient_tensors[number]));
      if (!node.runs_backward || !gradient_tensors[number].defined()) continue;
      if (begun[number]) node.adds_to_params = true;
      begun[number] = true;
    }
    if (node.adds_to_params)
      for (const std::size_t number : node.params)
        if (!begun_before[number] && gradient_tensors[number].defined())
          node.zero_params.push_back(gradient_tensors[number]);
    const auto elsewhere = [&](std::size_t b, Tensor& tensor) {
      const std::size_t piece = blobs[blobs[b].root].again_piece;
      if (piece != none) node.backward_tensors.emplace_back(&tensor, tensor_at(piece, blobs[b]));
    };
    for (std::size_t b = 0; b < node.bottoms.size(); ++b) elsewhere(node.bottoms[b], io.bottoms[b]);
    for (std::size_t t = 0; t < node.tops.size(); ++t) elsewhere(node.tops[t], io.tops[t]);
    io.scratch_memory = static_cast<std::byte*>(scratch_block.get());
    io.state_memory = node.state_piece == none ? nullptr : at(node.state_piece);
    if (node.prepared_bytes > 0) io.prepared_memory = static_cast<std::byte*>(prepared_block.get()) + prepared_at;
    prepared_at += node.prepared_bytes;
    if (node.verdict != none) io.verdict_memory = static_cast<Report*>(report_block.get())->verdicts() + node.verdict;
    io.net_phase = options.phase;
    io.net_dtype = node.form.dtype;
    io.net_backend = backend.get();
    io.net_seed = options.seed;
  }
}

}  // namespace sparknet
