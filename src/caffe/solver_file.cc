#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "sparknet/caffe/prototxt.h"
#include "src/caffe/options.h"
#include "src/caffe/text.h"
#include "src/caffe/upgrade.h"
#include "src/io/atomic_file.h"
#include "src/suggest.h"

namespace sparknet::caffe {
namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 7> types = {"SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam", "AdamW"};
constexpr std::array<const char*, 7> policies = {"fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid"};

std::shared_ptr<const UpdateRule> rule_of(const SolverFile& file) {
  if (file.type == "Nesterov") return nesterov(file.momentum);
  if (file.type == "AdaGrad") return adagrad(file.delta);
  if (file.type == "RMSProp") return rmsprop({.rms_decay = file.rms_decay, .delta = file.delta});
  if (file.type == "AdaDelta") return adadelta({.momentum = file.momentum, .delta = file.delta});
  const AdamOptions adam_options{.beta1 = file.momentum, .beta2 = file.momentum2, .epsilon = file.delta};
  if (file.type == "Adam") return adam(adam_options);
  if (file.type == "AdamW") return adamw(adam_options);
  return nullptr;
}

/// The fields of a solver, read one by one. Where something is wrong it is said with the field's line.
class SolverReader {
 public:
  SolverReader(std::string_view text, const std::string& name, const fs::path& folder) : name_(name), folder_(folder) {
    parse_text(name, text, from_, places_);
    // Before the upgrade, which moves layers.
    if (from_.has_net_param()) generic_lines_ = lines_of(from_.net_param(), "net_param", -1);
    if (from_.has_train_net_param()) train_lines_ = lines_of(from_.train_net_param(), "train_net_param", -1);
    for (int i = 0; i < from_.test_net_param_size(); ++i)
      test_lines_.push_back(lines_of(from_.test_net_param(i), "test_net_param", i));
    upgrade(from_, name);
  }

  SolverFile read() {
    read_numbers();
    read_policy();
    read_rule();
    read_nets();
    return std::move(file_);
  }

  SolverParam read_without_nets() {
    for (const char* field :
         {"net",
          "net_param",
          "train_net",
          "train_net_param",
          "test_net",
          "test_net_param",
          "train_state",
          "test_state"}) {
      const auto* descriptor = from_.GetDescriptor()->FindFieldByName(field);
      const auto* reflection = from_.GetReflection();
      if (descriptor->is_repeated() ? reflection->FieldSize(from_, descriptor) > 0
                                    : reflection->HasField(from_, descriptor))
        refuse(field, fmt::format("{} is given, and the net comes from elsewhere here", field));
    }
    read_numbers();
    read_policy();
    read_rule();
    return std::move(file_.solver);
  }

 private:
  [[noreturn]] void refuse(const char* field, const std::string& why, int index = -1) const {
    const auto* descriptor = from_.GetDescriptor()->FindFieldByName(field);
    const int at = descriptor->is_repeated() && index < 0 ? 0 : index;
    const auto place = places_.GetLocation(descriptor, at);
    throw PrototxtError(name_, place.line + 1, place.column + 1, why);
  }

  std::vector<LayerLine> lines_of(const proto::NetParameter& net, const char* field, int index) const {
    return layer_lines(net, places_.GetTreeForNested(from_.GetDescriptor()->FindFieldByName(field), index));
  }

  void read_numbers() {
    SolverParam& s = file_.solver;
    if (from_.has_base_lr()) s.base_lr = from_float(from_.base_lr());
    s.weight_decay = from_float(from_.weight_decay());
    const std::string& regularization = from_.regularization_type();
    if (regularization != "L1" && regularization != "L2")
      refuse("regularization_type", fmt::format("regularization_type is \"{}\"; there are L1 and L2", regularization));
    s.regularization = regularization == "L1" ? Regularization::L1 : Regularization::L2;
    s.max_iter = from_.max_iter();
    s.iter_size = from_.iter_size();
    s.clip_gradients = from_float(from_.clip_gradients());
    s.average_loss = from_.average_loss();
    s.test_interval = from_.test_interval();
    s.test_initialization = from_.test_initialization();
    s.snapshot = from_.snapshot();
    s.snapshot_prefix = from_.snapshot_prefix();
    s.display = from_.display();
    for (int i = 0; i < from_.test_iter_size(); ++i) {
      const std::int32_t count = from_.test_iter(i);
      if (count < 1) refuse("test_iter", fmt::format("test_iter is {}; a test has a batch at least", count), i);
      file_.test_iter.push_back(count);
    }
    if (from_.test_iter_size() > 0) s.test_iter = from_.test_iter(0);

    file_.test_compute_loss = from_.test_compute_loss();
    file_.snapshot_diff = from_.snapshot_diff();
    file_.snapshot_format = static_cast<SnapshotFormat>(from_.snapshot_format());
    file_.snapshot_after_train = from_.snapshot_after_train();
    file_.solver_mode = static_cast<SolverMode>(from_.solver_mode());
    file_.device_id = from_.device_id();
    file_.random_seed = from_.random_seed();
    file_.debug_info = from_.debug_info();
    file_.layer_wise_reduce = from_.layer_wise_reduce();
    file_.weights.assign(from_.weights().begin(), from_.weights().end());
  }

  void read_policy() {
    const std::string& policy = from_.lr_policy();
    const double gamma = from_float(from_.gamma()), power = from_float(from_.power());
    const auto needs = [&](bool given, const char* field) {
      if (!given) refuse("lr_policy", fmt::format("lr_policy \"{}\" needs {}", policy, field));
    };
    LrPolicy& to = file_.solver.lr_policy;
    if (policy == "fixed") {
      to = lr_policy::Fixed{};
    } else if (policy == "step") {
      needs(from_.has_gamma(), "gamma");
      needs(from_.stepsize() > 0, "a stepsize above 0");
      to = lr_policy::Step{gamma, from_.stepsize()};
    } else if (policy == "exp") {
      needs(from_.has_gamma(), "gamma");
      to = lr_policy::Exp{gamma};
    } else if (policy == "inv") {
      needs(from_.has_gamma(), "gamma");
      needs(from_.has_power(), "power");
      to = lr_policy::Inv{gamma, power};
    } else if (policy == "multistep") {
      needs(from_.has_gamma(), "gamma");
      to = lr_policy::MultiStep{gamma, {from_.stepvalue().begin(), from_.stepvalue().end()}};
    } else if (policy == "poly") {
      needs(from_.has_power(), "power");
      to = lr_policy::Poly{power};
    } else if (policy == "sigmoid") {
      needs(from_.has_gamma(), "gamma");
      to = lr_policy::Sigmoid{gamma, from_.stepsize()};
    } else if (!from_.has_lr_policy()) {
      throw PrototxtError(name_, 0, 0, "lr_policy is not given; \"fixed\" keeps base_lr as it is");
    } else {
      const std::vector<std::string> names(policies.begin(), policies.end());
      refuse("lr_policy", fmt::format("there is no lr_policy \"{}\"{}", policy, did_you_mean(policy, names)));
    }
  }

  void read_rule() {
    const std::vector<std::string> names(types.begin(), types.end());
    file_.type = from_.type();
    if (std::ranges::find(names, file_.type) == names.end())
      refuse("type", fmt::format("there is no solver \"{}\"{}", file_.type, did_you_mean(file_.type, names)));
    file_.momentum = from_float(from_.momentum());
    file_.momentum2 = from_float(from_.momentum2());
    file_.rms_decay = from_float(from_.rms_decay());
    file_.delta = from_float(from_.delta());
    if ((file_.type == "AdaGrad" || file_.type == "RMSProp") && file_.momentum != 0)
      refuse("momentum", fmt::format("{} has no momentum", file_.type));
    try {
      file_.solver.rule = rule_of(file_);
    } catch (const Error& why) {
      refuse("type", why.what());
    }
    if (!file_.solver.rule) file_.solver.momentum = file_.momentum;
  }

  struct NetFile {
    proto::NetParameter net;
    NetParam param;
  };

  NetFile message(const proto::NetParameter& net, const std::vector<LayerLine>& lines) const {
    return {net, net_from(net, name_, lines)};
  }

  NetFile load(const char* field, const std::string& name, int index) const {
    const fs::path path = find(field, name, index);
    const std::string text = read_text(path);
    NetFile file;
    Places places;
    parse_text(path.string(), text, file.net, places);
    const std::vector<LayerLine> lines = layer_lines(file.net, &places);
    upgrade(file.net, path.string());
    file.param = net_from(file.net, path.string(), lines);
    return file;
  }

  /// Where a net's file is.
  fs::path find(const char* field, const std::string& name, int index) const {
    std::error_code error;
    const auto there = [&](const fs::path& path) { return fs::is_regular_file(path, error); };
    if (there(name)) return name;
    const fs::path folder = fs::absolute(folder_.empty() ? fs::path(".") : folder_, error);
    for (fs::path above = folder;; above = above.parent_path()) {
      if (there(above / name)) return above / name;
      if (!above.has_relative_path()) break;
    }
    if (there(folder / fs::path(name).filename())) return folder / fs::path(name).filename();
    refuse(
        field,
        fmt::format(
            "{} \"{}\" is not there, neither from the folder the program runs in nor from that of the solver",
            field,
            name),
        index);
  }

  static void merge(NetState& state, bool has_phase, const proto::NetState& from) {
    if (has_phase) state.phase = from.phase() == proto::TRAIN ? Phase::Train : Phase::Test;
    if (from.has_level()) state.level = from.level();
    state.stages.insert(state.stages.end(), from.stage().begin(), from.stage().end());
  }

  static NetState state_of(Phase phase, const proto::NetParameter& net, const proto::NetState& solver) {
    NetState state(phase);
    merge(state, net.state().has_phase(), net.state());
    merge(state, solver.has_phase(), solver);
    return state;
  }

  void read_nets() {
    file_.net = from_.net();
    file_.train_net = from_.train_net();
    file_.test_nets.assign(from_.test_net().begin(), from_.test_net().end());
    const int generics = from_.has_net() + from_.has_net_param();
    const int trains = generics + from_.has_train_net() + from_.has_train_net_param();
    if (trains != 1)
      throw PrototxtError(
          name_,
          0,
          0,
          fmt::format("has {} nets to train; one of net, net_param, train_net and train_net_param is needed", trains));
    NetFile generic, train;
    if (from_.has_net()) generic = load("net", from_.net(), -1);
    if (from_.has_net_param()) generic = message(from_.net_param(), generic_lines_);
    if (from_.has_train_net()) train = load("train_net", from_.train_net(), -1);
    if (from_.has_train_net_param()) train = message(from_.train_net_param(), train_lines_);
    if (generics == 1) train = generic;
    file_.train = train.param;
    file_.train_state = state_of(Phase::Train, train.net, from_.train_state());

    std::vector<NetFile> tests;
    for (int i = 0; i < from_.test_net_param_size(); ++i)
      tests.push_back(message(from_.test_net_param(i), test_lines_[static_cast<std::size_t>(i)]));
    for (int i = 0; i < from_.test_net_size(); ++i) tests.push_back(load("test_net", from_.test_net(i), i));
    const std::size_t iters = file_.test_iter.size();
    if (generics == 1 ? iters < tests.size() : iters != tests.size())
      throw PrototxtError(
          name_,
          0,
          0,
          fmt::format("has {} test nets and {} of test_iter, one for each", tests.size(), iters));
    if (generics == 1) tests.resize(iters, generic);
    const auto states = static_cast<std::size_t>(from_.test_state_size());
    if (states != 0 && states != tests.size())
      refuse("test_state", fmt::format("there are {} of test_state and {} test nets", states, tests.size()));
    if (!tests.empty() && from_.test_interval() <= 0)
      throw PrototxtError(name_, 0, 0, fmt::format("has {} test nets and no test_interval", tests.size()));
    for (std::size_t i = 0; i < tests.size(); ++i) {
      file_.tests.push_back(tests[i].param);
      const auto& state = i < states ? from_.test_state(static_cast<int>(i)) : proto::NetState::default_instance();
      file_.test_states.push_back(state_of(Phase::Test, tests[i].net, state));
    }
  }

  std::string name_;
  fs::path folder_;
  proto::SolverParameter from_;
  Places places_;
  std::vector<LayerLine> generic_lines_, train_lines_;
  std::vector<std::vector<LayerLine>> test_lines_;
  SolverFile file_;
};

// ---- Writing -------------------------------------------------------------------------------------------------------

template <class T>
T narrow(std::int64_t value, const char* field) {
  if (!std::in_range<T>(value)) throw Error(fmt::format("{} is {}, which is too much for Caffe's files", field, value));
  return static_cast<T>(value);
}

void write_policy(const LrPolicy& policy, proto::SolverParameter& to) {
  to.set_lr_policy(policies[policy.index()]);
  const auto gamma = [&](double value) { to.set_gamma(to_float(value, "gamma")); };
  const auto power = [&](double value) { to.set_power(to_float(value, "power")); };
  const auto stepsize = [&](std::int64_t value) { to.set_stepsize(narrow<std::int32_t>(value, "stepsize")); };
  if (const auto* step = std::get_if<lr_policy::Step>(&policy)) gamma(step->gamma), stepsize(step->stepsize);
  if (const auto* exp = std::get_if<lr_policy::Exp>(&policy)) gamma(exp->gamma);
  if (const auto* inv = std::get_if<lr_policy::Inv>(&policy)) gamma(inv->gamma), power(inv->power);
  if (const auto* poly = std::get_if<lr_policy::Poly>(&policy)) power(poly->power);
  if (const auto* sigmoid = std::get_if<lr_policy::Sigmoid>(&policy))
    gamma(sigmoid->gamma), stepsize(sigmoid->stepsize);
  if (const auto* steps = std::get_if<lr_policy::MultiStep>(&policy)) {
    gamma(steps->gamma);
    for (const std::int64_t value : steps->stepvalue) to.add_stepvalue(narrow<std::int32_t>(value, "stepvalue"));
  }
}

void write_state(const NetState& state, proto::NetState& to) {
  to.set_phase(state.phase == Phase::Train ? proto::TRAIN : proto::TEST);
  if (state.level != 0) to.set_level(state.level);
  for (const std::string& stage : state.stages) to.add_stage(stage);
}

void write_nets(const SolverFile& file, proto::SolverParameter& to) {
  if (!file.net.empty())
    to.set_net(file.net);
  else if (!file.train_net.empty())
    to.set_train_net(file.train_net);
  for (const std::string& name : file.test_nets) to.add_test_net(name);
  const bool named = to.has_net() || to.has_train_net();
  const bool alike = std::ranges::all_of(file.tests, [&](const NetParam& net) { return net == file.train; });
  if (!named) *(alike ? to.mutable_net_param() : to.mutable_train_net_param()) = net_to(file.train);
  // Test nets: messages, then files, then the net that serves both as often as test_iter has more.
  std::size_t messages = file.tests.size();
  if (to.has_net() || to.has_net_param())
    while (messages > 0 && file.tests[messages - 1] == file.train) --messages;
  messages -= std::min(messages, file.test_nets.size());
  for (std::size_t i = 0; i < messages; ++i) *to.add_test_net_param() = net_to(file.tests[i]);

  if (file.train_state != NetState(Phase::Train)) write_state(file.train_state, *to.mutable_train_state());
  if (std::ranges::any_of(file.test_states, [](const NetState& state) { return state != NetState(Phase::Test); }))
    for (const NetState& state : file.test_states) write_state(state, *to.add_test_state());
  for (const std::int64_t count : file.test_iter) to.add_test_iter(narrow<std::int32_t>(count, "test_iter"));
}

/// Writes what is not the default.
void write_numbers(const SolverFile& file, proto::SolverParameter& to) {
  const proto::SolverParameter usual;
  const SolverParam& s = file.solver;
  const auto number = [&](double value, float usual_value, auto set, const char* name) {
    if (value != from_float(usual_value)) (to.*set)(to_float(value, name));
  };
  const auto count = [&](std::int64_t value, std::int32_t usual_value, auto set, const char* name) {
    if (value != usual_value) (to.*set)(narrow<std::int32_t>(value, name));
  };
  using P = proto::SolverParameter;
  to.set_base_lr(to_float(s.base_lr, "base_lr"));
  number(s.weight_decay, usual.weight_decay(), &P::set_weight_decay, "weight_decay");
  if (s.regularization == Regularization::L1) to.set_regularization_type("L1");
  count(s.max_iter, usual.max_iter(), &P::set_max_iter, "max_iter");
  count(s.iter_size, usual.iter_size(), &P::set_iter_size, "iter_size");
  number(s.clip_gradients, usual.clip_gradients(), &P::set_clip_gradients, "clip_gradients");
  count(s.average_loss, usual.average_loss(), &P::set_average_loss, "average_loss");
  count(s.test_interval, usual.test_interval(), &P::set_test_interval, "test_interval");
  if (!s.test_initialization) to.set_test_initialization(false);
  count(s.snapshot, usual.snapshot(), &P::set_snapshot, "snapshot");
  if (!s.snapshot_prefix.empty()) to.set_snapshot_prefix(s.snapshot_prefix);
  count(s.display, usual.display(), &P::set_display, "display");

  if (file.type != usual.type()) to.set_type(file.type);
  number(s.rule ? file.momentum : s.momentum, usual.momentum(), &P::set_momentum, "momentum");
  number(file.momentum2, usual.momentum2(), &P::set_momentum2, "momentum2");
  number(file.rms_decay, usual.rms_decay(), &P::set_rms_decay, "rms_decay");
  number(file.delta, usual.delta(), &P::set_delta, "delta");

  if (file.test_compute_loss) to.set_test_compute_loss(true);
  if (file.snapshot_diff) to.set_snapshot_diff(true);
  if (file.snapshot_format == SnapshotFormat::HDF5) to.set_snapshot_format(P::HDF5);
  if (!file.snapshot_after_train) to.set_snapshot_after_train(false);
  if (file.solver_mode == SolverMode::CPU) to.set_solver_mode(P::CPU);
  count(file.device_id, usual.device_id(), &P::set_device_id, "device_id");
  if (file.random_seed != usual.random_seed()) to.set_random_seed(file.random_seed);
  if (file.debug_info) to.set_debug_info(true);
  if (!file.layer_wise_reduce) to.set_layer_wise_reduce(false);
  for (const std::string& weights : file.weights) to.add_weights(weights);
}

}  // namespace

SolverFile parse_solver(std::string_view text, const std::string& name, const fs::path& folder) {
  return SolverReader(text, name, folder).read();
}

SolverParam parse_solver_param(std::string_view text, const std::string& name) {
  return SolverReader(text, name, {}).read_without_nets();
}

SolverFile read_solver(const fs::path& file) {
  return parse_solver(read_text(file), file.string(), file.parent_path());
}

std::string to_prototxt(const SolverFile& solver) {
  const auto rule = rule_of(solver);
  const std::string_view said = rule ? rule->name() : sgd()->name();
  const std::string_view used = solver.solver.rule ? solver.solver.rule->name() : sgd()->name();
  if (said != used || std::ranges::find(types, solver.type) == types.end())
    throw Error(fmt::format("the solver's type is \"{}\" and its rule is {}", solver.type, used));
  proto::SolverParameter to;
  try {
    write_numbers(solver, to);
    write_policy(solver.solver.lr_policy, to);
    write_nets(solver, to);
  } catch (const BadInput& why) {
    throw Error(why.what());
  }
  return print_text(to);
}

void write_solver(const SolverFile& solver, const fs::path& file) {
  const std::string text = to_prototxt(solver);
  detail::write_atomically(file, std::as_bytes(std::span(text)));
}

}  // namespace sparknet::caffe
