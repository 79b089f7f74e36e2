// The program `sparknet`: Caffe's command line, and more.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <new>
#include <string>

#include "src/cli/commands.h"
#include "src/cli/options.h"
#include "src/suggest.h"

namespace {

using namespace sparknet;
using namespace sparknet::cli;

constexpr int failed = 1, misused = 2;

/// A list of files that names one at least: an unset variable of a shell is a mistake.
std::string names_files(const std::string& text) {
  return split(text).empty() ? "names no file" : "";
}

/// The command that was being read, "convert mnist" say.
const CLI::App* last_command(const CLI::App* app) {
  while (!app->get_subcommands().empty()) app = app->get_subcommands().back();
  return app;
}

std::string full_name(const CLI::App* app) {
  return app->get_parent() ? full_name(app->get_parent()) + " " + app->get_name() : app->get_name();
}

/// What is printed for a mistake in the arguments; for an unknown name, the nearest there is.
std::string explain(const CLI::App* root, const CLI::Error& error) {
  const CLI::App* app = last_command(root);
  std::string text = error.what();
  std::vector<std::string> names;
  for (const CLI::App* command : app->get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  const std::vector<std::string> unknown = root->remaining(true);
  if (!unknown.empty()) {
    const bool command = !names.empty() && !unknown[0].starts_with('-');
    text = command ? fmt::format("there is no command {}{}", unknown[0], did_you_mean(unknown[0], names))
                   : explain_argument(app, unknown[0]);
  } else if (!names.empty()) {
    text = "which of the commands is it?";
    for (const std::string& name : names) text += " " + name;
  }
  return fmt::format("sparknet: {}\n{} --help says what there is\n", text, full_name(app));
}

const std::map<std::string, Phase> phases = {{"TRAIN", Phase::Train}, {"TEST", Phase::Test}};
const std::map<std::string, caffe::Database> backends = {
    {"lmdb", caffe::Database::LMDB}, {"leveldb", caffe::Database::LevelDB}};
const std::map<std::string, Effect> effects = {
    {"stop", Effect::Stop}, {"snapshot", Effect::Snapshot}, {"none", Effect::None}};

template <class T>
CLI::Option* choice(
    CLI::App* app, const char* name, T& value, const std::map<std::string, T>& values, const std::string& what) {
  return app
      ->add_option_function<std::string>(
          name,
          [&value, &values](const std::string& text) { value = values.at(text); },
          what)
      ->transform(CLI::IsMember(values, CLI::ignore_case))
      ->type_name("NAME");
}

void add_threads(CLI::App* app, int& threads) {
  app->add_option("--threads", threads, "Threads that compute (all cores)")->check(at_least(1))->type_name("N");
}

void add_state(CLI::App* app, int& level, std::string& stage) {
  app->add_option("--level", level, "The net's level (0)")->type_name("N");
  app->add_option("--stage", stage, "The net's stages, separated by commas")->type_name("NAMES");
}

void add_recompute(CLI::App* app, bool& recompute) {
  app->add_flag("--recompute", recompute, "Compute cheap blobs again in the backward pass: less memory, more time");
}

void add_freeze(CLI::App* app, bool& freeze) {
  app->add_flag("--freeze", freeze, "With --phase TEST: prepare the weights once, as test and extract do");
}

void add_net(CLI::App* app, NetArguments& net, bool needs_weights, const char* phase) {
  app->add_option("--model", net.model, "The net's prototxt")->required()->type_name("FILE");
  CLI::Option* weights =
      app->add_option("--weights", net.weights, "Trained .caffemodel[.h5] files, separated by commas");
  weights->type_name("FILES")->required(needs_weights)->check(names_files);
  choice(app, "--phase", net.phase, phases, fmt::format("TRAIN or TEST ({})", phase));
  add_state(app, net.level, net.stage);
  add_threads(app, net.threads);
  add_device(app, net.device);
  add_forms(app, net.bf16, net.nhwc);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Trains, tests and measures nets that are described in Caffe's files.", "sparknet");
  app.failure_message(explain);
  app.require_subcommand(1);
  app.set_version_flag("--version", "sparknet " SPARKNET_VERSION);
  std::function<int()> run;
  const auto command = [&](CLI::App* parent, const char* name, const char* what, std::function<int()> does) {
    CLI::App* made = parent->add_subcommand(name, what);
    made->get_formatter()->column_width(28);
    made->callback([&run, does = std::move(does)] { run = does; });
    return made;
  };

  TrainArguments train_arguments;
  CLI::App* train_command =
      command(&app, "train", "Train a net as a solver says", [&] { return train(train_arguments); });
  train_command->add_option("--solver", train_arguments.solver, "The solver's prototxt")->required()->type_name("FILE");
  CLI::Option* snapshot =
      train_command->add_option("--snapshot", train_arguments.snapshot, "Go on from a .solverstate[.h5]");
  snapshot->type_name("FILE")->check(names_files);
  train_command
      ->add_option(
          "--weights",
          train_arguments.weights,
          "Begin with trained .caffemodel[.h5] files, separated by commas")
      ->type_name("FILES")
      ->check(names_files)
      ->excludes(snapshot);
  choice(
      train_command,
      "--sigint_effect",
      train_arguments.sigint,
      effects,
      "What Ctrl-C does: stop (with a snapshot), snapshot or none (stop)");
  choice(train_command, "--sighup_effect", train_arguments.sighup, effects, "What SIGHUP does (snapshot)");
  add_state(train_command, train_arguments.level, train_arguments.stage);
  add_threads(train_command, train_arguments.threads);
  add_device(train_command, train_arguments.device);
  add_forms(train_command, train_arguments.bf16, train_arguments.nhwc);
  add_recompute(train_command, train_arguments.recompute);

  TestArguments test_arguments;
  CLI::App* test_command =
      command(&app, "test", "Score trained weights: a line for each output", [&] { return test(test_arguments); });
  add_net(test_command, test_arguments.net, true, "TEST");
  test_command->add_option("--iterations", test_arguments.iterations, "Batches to run (50)")
      ->check(at_least(1))
      ->type_name("N");

  TimeArguments time_arguments;
  time_arguments.net.phase = Phase::Train;
  CLI::App* time_command = command(&app, "time", "Measure each layer, forward and in phase TRAIN backward", [&] {
    return time(time_arguments);
  });
  add_net(time_command, time_arguments.net, false, "TRAIN");
  add_recompute(time_command, time_arguments.net.recompute);
  add_freeze(time_command, time_arguments.net.freeze);
  time_command->add_option("--iterations", time_arguments.iterations, "Passes to measure (50)")
      ->check(at_least(1))
      ->type_name("N");

  NetArguments summary_arguments;
  CLI::App* summary_command = command(&app, "summary", "Print a net's layers, shapes, parameters and memory", [&] {
    return summary(summary_arguments);
  });
  add_net(summary_command, summary_arguments, false, "TEST");
  add_recompute(summary_command, summary_arguments.recompute);
  add_freeze(summary_command, summary_arguments.freeze);

  DrawArguments draw_arguments;
  CLI::App* draw_command =
      command(&app, "draw", "Write a net as a Graphviz graph", [&] { return draw(draw_arguments); });
  add_net(draw_command, draw_arguments.net, false, "TEST");
  draw_command->add_option("OUT", draw_arguments.out, "The .dot file (stdout)")->type_name("FILE");

  ExtractArguments extract_arguments;
  CLI::App* extract_command =
      command(&app, "extract", "Run a net over its data and keep blobs", [&] { return extract(extract_arguments); });
  add_net(extract_command, extract_arguments.net, true, "TEST");
  extract_command->add_option("--blobs", extract_arguments.blobs, "The blobs, separated by commas")
      ->required()
      ->type_name("NAMES");
  extract_command
      ->add_option("--iterations", extract_arguments.iterations, "Batches to run (until every example was seen once)")
      ->check(at_least(1))
      ->type_name("N");
  extract_command->add_option("OUT", extract_arguments.out, "A .npy file for one blob, a .h5 file for any number")
      ->required()
      ->type_name("FILE");

  command(&app, "device_query", "List the GPUs of this machine", device_query);

  CLI::App* convert_command = app.add_subcommand("convert", "Make a database of Caffe's from a data set");
  convert_command->require_subcommand(1);
  ConvertArguments mnist_arguments, cifar10_arguments;
  CLI::App* mnist =
      command(convert_command, "mnist", "From idx files, plain or .gz", [&] { return convert_mnist(mnist_arguments); });
  mnist_arguments.files.resize(2);
  mnist->add_option("IMAGES", mnist_arguments.files[0])->required()->type_name("FILE");
  mnist->add_option("LABELS", mnist_arguments.files[1])->required()->type_name("FILE");
  mnist->add_option("OUT", mnist_arguments.out, "The folder to make")->required()->type_name("FOLDER");
  choice(mnist, "--backend", mnist_arguments.backend, backends, "lmdb or leveldb (lmdb)");
  std::vector<std::filesystem::path> batches;
  CLI::App* cifar10 = command(convert_command, "cifar10", "From binary batches, plain or .gz", [&] {
    if (batches.size() < 2) throw UsageError("convert cifar10 needs a batch at least, and the folder to make");
    cifar10_arguments.files.assign(batches.begin(), batches.end() - 1);
    cifar10_arguments.out = batches.back();
    return convert_cifar10(cifar10_arguments);
  });
  cifar10->add_option("BATCH... OUT", batches, "The files, and last the folder to make")->required()->type_name("");
  choice(cifar10, "--backend", cifar10_arguments.backend, backends, "lmdb or leveldb (lmdb)");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : misused;
  }
  try {
    const int status = run();
    if (status == 0 && (std::fflush(stdout) != 0 || std::ferror(stdout))) {
      fmt::print(stderr, "sparknet: what was to be printed could not be written\n");
      return failed;
    }
    return status;
  } catch (const UsageError& error) {
    fmt::print(stderr, "sparknet: {}\n", error.what());
    return misused;
  } catch (const std::filesystem::filesystem_error& error) {
    fmt::print(stderr, "sparknet: {}: {}\n", error.path1().string(), error.code().message());
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "sparknet: there is not enough memory\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "sparknet: {}\n", error.what());
  }
  return failed;
}
