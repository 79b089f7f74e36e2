#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "sparknet/error.h"
#include "sparknet/net_param.h"
#include "sparknet/solver.h"

/// Nets and solvers as Caffe's text files.
namespace sparknet::caffe {

/// A prototxt that is wrong: "FILE:LINE:COLUMN: why". Line and column count from 1; 0 where none can be named.
class PrototxtError : public DataError {
 public:
  PrototxtError(std::string file, int line, int column, const std::string& why);

  const std::string& file() const { return file_; }
  int line() const { return line_; }
  int column() const { return column_; }

 private:
  std::string file_;
  int line_, column_;
};

/// Reads a net of any age (`layer`, `layers`, `input` fields). Layers have the file and line in their `where`. What is
/// said in two ways is read as one: multipliers go to the layer's options where it has them; an include rule of nothing
/// but a phase goes to its `include`; tops, loss weights and parameters that say no more than the layer does are left
/// out of its extras. Options that say how to compute and not what (`engine`) are left out, as are `blobs`, `phase` and
/// `debug_info`; options that the layer lacks are refused, unless they have their default. A net's `state` is left out:
/// it belongs to the Net. Throws DataError: PrototxtError where a place can be named.
NetParam read_net(const std::filesystem::path& file);
/// The same from text; `name` is what errors call it.
NetParam parse_net(std::string_view text, const std::string& name = "prototxt");

/// The net as Caffe writes one: only what differs from Caffe's defaults. Numbers have Caffe's precision, that of float.
/// An RDDLayer is an Input with an empty `memory_data_param`. Throws Error for a layer of a type that Caffe's files
/// have no name for, as a program's own, and for an option that they cannot say.
std::string to_prototxt(const NetParam& net);
/// Writes a file that is whole or not there. Throws DataError where it cannot be written.
void write_net(const NetParam& net, const std::filesystem::path& file);

enum class SnapshotFormat : std::uint8_t { HDF5, BinaryProto };
enum class SolverMode : std::uint8_t { CPU, GPU };

/// A solver's file: Caffe's SolverParameter, with its nets.
struct SolverFile {
  /// What Solver takes. `rule` is made of `type` and the numbers below it; for SGD it is null, and `momentum` says the
  /// rest. `test_iter` is that of the first test net.
  SolverParam solver = {};
  NetParam train = {};
  /// Each with as many batches as test_iter says, in the states test_states.
  std::vector<NetParam> tests = {};
  NetState train_state = NetState(Phase::Train);
  std::vector<NetState> test_states = {};
  std::vector<std::int64_t> test_iter = {};

  /// Caffe's "SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta" and "Adam"; "AdamW" is sparknet's.
  std::string type = "SGD";
  /// Of the rule; of SGD it is solver.momentum.
  double momentum = 0;
  double momentum2 = 0.999, rms_decay = 0.99, delta = 1e-8;

  bool test_compute_loss = false;
  bool snapshot_diff = false;
  SnapshotFormat snapshot_format = SnapshotFormat::BinaryProto;
  bool snapshot_after_train = true;
  SolverMode solver_mode = SolverMode::GPU;
  int device_id = 0;
  /// Below 0: another in each run.
  std::int64_t random_seed = -1;
  bool debug_info = false;
  bool layer_wise_reduce = true;
  /// Files to begin with; each may be several, separated by commas.
  std::vector<std::string> weights = {};

  /// The files of the nets as the solver names them; where they are empty, to_prototxt writes the nets themselves.
  std::string net = {};
  std::string train_net = {};
  std::vector<std::string> test_nets = {};
};

/// Reads a solver and its nets. A net's file is looked for where its name says, then from the folder of the solver's
/// file and those above it, then by its last name beside the solver's file. Throws DataError: PrototxtError where a
/// place can be named.
SolverFile read_solver(const std::filesystem::path& file);
/// The same from text; nets in files are looked for as if it lay in `folder`.
SolverFile parse_solver(
    std::string_view text, const std::string& name = "prototxt", const std::filesystem::path& folder = {});

/// A solver that names no net, for programs that have theirs otherwise: parse_solver's `solver`. `test_iter` is the
/// first of the text. Throws PrototxtError where it names a net, a test net or their states, and for what parse_solver
/// refuses.
SolverParam parse_solver_param(std::string_view text, const std::string& name = "prototxt");

/// Throws Error for what to_prototxt of a net refuses, and for a rule of another type than `type`.
std::string to_prototxt(const SolverFile& solver);
void write_solver(const SolverFile& solver, const std::filesystem::path& file);

}  // namespace sparknet::caffe
