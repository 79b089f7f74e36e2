#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sparknet/net.h"
#include "sparknet/tensor.h"

namespace sparknet::caffe {

/// What a model has of one layer: Caffe's name and type ("InnerProduct"; "" in HDF5, which does not say) and its
/// numbers in Caffe's order. A blob that HDF5 leaves out, since the layer shares it with one before it, is undefined.
struct LayerBlobs {
  std::string name, type;
  std::vector<Tensor> blobs;
};

/// A `.caffemodel`, or the same in HDF5: the layers in the order of the file.
struct Model {
  /// The path it was read from, for messages.
  std::string file;
  std::string name;
  std::vector<LayerBlobs> layers;
};

/// Reads a model of any age: binary with today's layers, V1 (`layers`) or V0, whose blobs have four dimensions; or
/// HDF5, with "data/LAYER/0" and so on. The file's first bytes decide, not its name. Throws DataError, with the byte
/// where it can be named, for a file that is something else, cut off or damaged. While a binary
/// file is read, it is in memory beside its numbers.
Model read_model(const std::filesystem::path& file);

/// What copy_weights did, by names of layers.
struct CopyReport {
  std::vector<std::string> copied;
  /// Layers of the model with numbers that the net has no layer for.
  std::vector<std::string> ignored;
  /// Layers of the net with parameters of which the model has nothing; they keep their numbers.
  std::vector<std::string> kept;
  bool operator==(const CopyReport&) const = default;
};
/// One line for a log.
std::string to_string(const CopyReport& report);

/// Copies numbers into the layers of the same names, converted to the net's dtype: Caffe's CopyTrainedLayersFrom.
/// Throws ShapeError, with both shapes and the remedy, where a layer has another number of blobs or another shape in
/// the model; the net is then as it was. An old blob of four dimensions fits where it does with leading ones taken
/// away.
CopyReport copy_weights(Net& net, const Model& model);
CopyReport copy_weights(Net& net, const std::filesystem::path& file);

/// Writes the net's layers and their numbers as Caffe does: HDF5 where the name ends in ".h5", else binary. The file is
/// whole or not there; throws DataError where it cannot be written.
void write_model(const Net& net, const std::filesystem::path& file);

}  // namespace sparknet::caffe
