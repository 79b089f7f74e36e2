#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "sparknet/data/source.h"

namespace sparknet::caffe {

/// The kinds of databases that Caffe keeps examples in: folders of keys with a Datum each.
enum class Database : std::uint8_t { LevelDB, LMDB };
/// "Database::LMDB"
std::string to_text(Database value);

/// What becomes of images that are stored as PNG or JPEG. Native: gray stays one channel, colour is three planes in the
/// order blue, green, red, and a PNG's transparency a fourth.
enum class DecodeAs : std::uint8_t { Native, Color, Gray };

/// A database of Caffe's, in the order of its keys: columns "data" [channels, height, width], u8, or f32 where the
/// examples hold float_data, and "label" i32 [1]. The keys are indexed when it is opened; after that any example is
/// reached at once, by any number of threads. It is not written to, but LevelDB, which has no readers only, keeps its
/// folder to one process and needs to write there. Sources of one folder share what is open. Throws DataError where the
/// folder is no such database or has no examples, and, when an example is read, where it is damaged or differs from the
/// first in shape or type.
SourcePtr read_database(const std::filesystem::path& folder, Database kind, DecodeAs decode = DecodeAs::Native);

/// Writes the examples of a source with u8 or f32 "data" [C, H, W] and integer "label" [1], with keys that are their
/// numbers in `key_digits` digits. The folder is whole or not there; throws DataError where it is there already.
void write_database(const std::filesystem::path& folder, Database kind, const DataSource& source, int key_digits = 8);

/// MNIST's idx files as Caffe's convert_mnist_data writes them: keys of 8 digits.
void convert_mnist(
    const std::filesystem::path& images, const std::filesystem::path& labels, const std::filesystem::path& folder,
    Database kind);

/// CIFAR-10's binary files as Caffe's convert_cifar_data writes them: keys of 5 digits.
void convert_cifar10(
    const std::vector<std::filesystem::path>& files, const std::filesystem::path& folder, Database kind);

}  // namespace sparknet::caffe
