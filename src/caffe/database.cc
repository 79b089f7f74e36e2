#include "sparknet/caffe/database.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "sparknet/data/cifar.h"
#include "sparknet/data/mnist.h"
#include "sparknet/error.h"
#include "src/caffe/datum.h"
#include "src/caffe/key_value.h"
#include "src/caffe/proto.h"
#include "src/io/atomic_file.h"

namespace sparknet::caffe {
namespace {

/// Neither LMDB nor LevelDB opens a folder twice in one process.
std::shared_ptr<const KeyValues> open_once(const std::filesystem::path& folder, Database kind) {
  static std::mutex mutex;
  static std::map<std::pair<std::string, Database>, std::weak_ptr<const KeyValues>> all;
  std::error_code error;
  const std::filesystem::path path = std::filesystem::canonical(folder, error);
  if (error) throw DataError(folder.string(), -1, "there is no such folder");
  const std::lock_guard lock(mutex);
  std::weak_ptr<const KeyValues>& known = all[{path.string(), kind}];
  std::shared_ptr<const KeyValues> open = known.lock();
  if (!open) known = open = kind == Database::LMDB ? open_lmdb(folder) : open_leveldb(folder);
  return open;
}

/// Decoders that threads take and give back.
class Readers {
 public:
  explicit Readers(DecodeAs decode) : decode_(decode) {}
  struct One {
    explicit One(DecodeAs decode) : datum(decode) {}
    DatumReader datum;
    std::string buffer;
  };
  std::unique_ptr<One> take() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return std::make_unique<One>(decode_);
    std::unique_ptr<One> one = std::move(idle_.back());
    idle_.pop_back();
    return one;
  }
  void give_back(std::unique_ptr<One> one) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(one));
  }

 private:
  DecodeAs decode_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<One>> idle_;
};

/// A new folder that is whole or not there.
class AtomicFolder {
 public:
  explicit AtomicFolder(const std::filesystem::path& target)
      : target_(target), made_(target.string() + ".tmp" + std::to_string(::getpid())) {
    check_free();
    std::filesystem::remove_all(made_, error_);
    if (!std::filesystem::create_directory(made_, error_)) fail("cannot be created");
  }
  ~AtomicFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(made_, ignored);
  }
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;

  const std::filesystem::path& path() const { return made_; }
  void commit() {
    check_free();
    detail::rename_made(made_, target_);
  }

 private:
  void check_free() {
    if (std::filesystem::exists(std::filesystem::symlink_status(target_, error_)))
      throw DataError(target_.string(), -1, "is there already, and is not written over; remove it first");
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(target_.string(), -1, what + ": " + error_.message());
  }

  std::filesystem::path target_, made_;
  std::error_code error_;
};

std::int32_t label_of(DType dtype, const std::byte* at) {
  if (dtype == DType::U8) return std::to_integer<std::int32_t>(*at);
  std::int32_t label = 0;
  std::memcpy(&label, at, sizeof label);
  return label;
}

}  // namespace

std::string to_text(Database value) {
  return value == Database::LMDB ? "Database::LMDB" : "Database::LevelDB";
}

SourcePtr read_database(const std::filesystem::path& folder, Database kind, DecodeAs decode) {
  std::shared_ptr<const KeyValues> values = open_once(folder, kind);
  if (values->size() == 0) throw DataError(folder.string(), -1, "the database has no examples");
  const auto readers = std::make_shared<Readers>(decode);
  const auto read = [values, name = folder.string()](Dim index, Readers::One& one) {
    one.datum.read(fmt::format("{}, key \"{}\"", name, values->key(index)), values->value(index, one.buffer));
  };

  std::unique_ptr<Readers::One> first = readers->take();
  read(0, *first);
  const Column data{"data", first->datum.shape(), first->datum.dtype()};
  readers->give_back(std::move(first));
  return from_callback(
      {data, {"label", Shape{1}, DType::I32}},
      values->size(),
      [values, readers, read, data, name = folder.string()](Dim index, std::span<std::byte* const> out) {
        std::unique_ptr<Readers::One> one = readers->take();
        read(index, *one);
        const DatumReader& datum = one->datum;
        if (datum.shape() != data.shape || datum.dtype() != data.dtype)
          throw DataError(
              fmt::format("{}, key \"{}\"", name, values->key(index)),
              -1,
              fmt::format(
                  "is {} {}, and the first example is {} {}; all must be alike",
                  to_string(datum.dtype()),
                  to_string(datum.shape()),
                  to_string(data.dtype),
                  to_string(data.shape)));
        std::memcpy(out[0], datum.values().data(), datum.values().size());
        const std::int32_t label = datum.label();
        std::memcpy(out[1], &label, sizeof label);
        readers->give_back(std::move(one));
      });
}

void write_database(const std::filesystem::path& folder, Database kind, const DataSource& source, int key_digits) {
  const auto refuse = [&](const std::string& why) { throw DataError(folder.string(), -1, why); };
  const int data = source.column("data"), label = source.column("label");
  if (data < 0 || label < 0) refuse("the source has no columns \"data\" and \"label\"");
  const Column& image = source.columns()[static_cast<std::size_t>(data)];
  const Column& number = source.columns()[static_cast<std::size_t>(label)];
  if (image.shape.size() != 3 || (image.dtype != DType::U8 && image.dtype != DType::F32))
    refuse(fmt::format(
        "\"data\" is {} {}, and u8 or f32 [channels, height, width] is wanted",
        to_string(image.dtype),
        to_string(image.shape)));
  if (number.shape.count() != 1 || (number.dtype != DType::U8 && number.dtype != DType::I32))
    refuse(
        fmt::format("\"label\" is {} {}, and one integer is wanted", to_string(number.dtype), to_string(number.shape)));
  // Keys sort as numbers do only while they are equally long.
  if (const std::string last = fmt::format("{:0{}}", source.size() - 1, key_digits);
      source.size() > 0 && last.size() > static_cast<std::size_t>(key_digits))
    refuse(fmt::format("{} examples do not have keys of {} digits", source.size(), key_digits));

  AtomicFolder made(folder);
  const std::size_t page = 4096, tags = image.dtype == DType::F32 ? image.bytes() / 4 : 0;  // a byte before each float
  const std::size_t record = (image.bytes() + tags + 256 + page - 1) / page * page;
  const std::size_t room = static_cast<std::size_t>(source.size()) * (record + page) + (std::size_t{64} << 20);
  const std::unique_ptr<KeyValueWriter> writer =
      kind == Database::LMDB ? make_lmdb(made.path(), room) : make_leveldb(made.path());
  std::vector<std::byte> image_memory(image.bytes()), label_memory(number.bytes());
  proto::Datum datum;
  datum.set_channels(static_cast<int>(image.shape[0]));
  datum.set_height(static_cast<int>(image.shape[1]));
  datum.set_width(static_cast<int>(image.shape[2]));
  if (image.dtype == DType::F32) datum.mutable_float_data()->Resize(static_cast<int>(image.shape.count()), 0);
  std::string bytes;
  for (Dim i = 0; i < source.size(); ++i) {
    const std::byte* values = source.example(i, static_cast<std::size_t>(data), image_memory.data());
    if (image.dtype == DType::U8)
      datum.set_data(values, image.bytes());
    else
      std::memcpy(datum.mutable_float_data()->mutable_data(), values, image.bytes());
    datum.set_label(label_of(number.dtype, source.example(i, static_cast<std::size_t>(label), label_memory.data())));
    datum.SerializeToString(&bytes);
    writer->put(fmt::format("{:0{}}", i, key_digits), bytes);
  }
  writer->finish();
  made.commit();
}

void convert_mnist(
    const std::filesystem::path& images, const std::filesystem::path& labels, const std::filesystem::path& folder,
    Database kind) {
  write_database(folder, kind, *read_mnist(images, labels), 8);
}

void convert_cifar10(
    const std::vector<std::filesystem::path>& files, const std::filesystem::path& folder, Database kind) {
  write_database(folder, kind, *read_cifar10(files), 5);
}

}  // namespace sparknet::caffe
