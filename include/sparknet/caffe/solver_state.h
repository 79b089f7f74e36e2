#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "sparknet/caffe/weights.h"
#include "sparknet/solver.h"

namespace sparknet::caffe {

/// What restore_state did.
struct RestoreReport {
  std::int64_t iteration = 0;
  /// The model that the weights were read from; empty where the state names none.
  std::filesystem::path model;
  CopyReport weights;
};

/// Goes on from where Caffe, or save_state, stopped: the iteration, the update rule's history and the weights of the
/// model that the state names, which is looked for as it is written and then beside the state, unless `model` says
/// where it is. Binary or HDF5; the file's first bytes decide. Random numbers go on as after so many iterations; Caffe
/// keeps neither those nor the place in the data. Throws DataError for a file that is no state or does not fit the
/// solver's rule and net; then the solver is as it was.
RestoreReport restore_state(
    Solver& solver, const std::filesystem::path& file, const std::optional<std::filesystem::path>& model = {});

/// Writes the state of a run as Caffe does: HDF5 where the name ends in ".h5", else binary. `model` is the file that
/// holds the weights (write_model) and is named in the state as it is given. The file is whole or not there. Throws
/// DataError where it cannot be written, and for adamw and rules of a program's own, whose history Caffe does not know.
void save_state(Solver& solver, const std::filesystem::path& file, const std::filesystem::path& model);

/// Both files of a snapshot, named as Caffe names them: PREFIX_iter_N.caffemodel and .solverstate, or with ".h5" added
/// to each.
struct SnapshotFiles {
  std::filesystem::path model, state;
};
SnapshotFiles write_snapshot(Solver& solver, const std::string& prefix, bool hdf5 = false);

}  // namespace sparknet::caffe
