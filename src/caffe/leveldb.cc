#include "sparknet/error.h"
#include "src/caffe/key_value.h"

#ifdef SPARKNET_WITH_LEVELDB

#include <leveldb/db.h>
#include <leveldb/write_batch.h>

#include <vector>

namespace sparknet::caffe {
namespace {

void check(const std::filesystem::path& folder, const leveldb::Status& status, const char* what) {
  if (!status.ok()) throw DataError(folder.string(), -1, std::string("LevelDB: ") + what + ": " + status.ToString());
}

std::unique_ptr<leveldb::DB> open(const std::filesystem::path& folder, bool make) {
  leveldb::Options options;
  options.create_if_missing = options.error_if_exists = make;
  options.max_open_files = 100;
  if (make) {  // as Caffe
    options.block_size = 65536;
    options.write_buffer_size = 268435456;
  }
  leveldb::DB* db = nullptr;
  check(folder, leveldb::DB::Open(options, folder.string(), &db), make ? "cannot be made" : "cannot be opened");
  return std::unique_ptr<leveldb::DB>(db);
}

class LevelValues final : public KeyValues {
 public:
  explicit LevelValues(const std::filesystem::path& folder) : folder_(folder) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(folder / "CURRENT", ignored))
      throw DataError(folder.string(), -1, "is no LevelDB database: it has no file CURRENT");
    db_ = open(folder, false);
    leveldb::ReadOptions once;
    once.fill_cache = false;
    const std::unique_ptr<leveldb::Iterator> at(db_->NewIterator(once));
    for (at->SeekToFirst(); at->Valid(); at->Next()) {
      keys_.append(at->key().data(), at->key().size());
      ends_.push_back(keys_.size());
    }
    check(folder, at->status(), "cannot be read");
  }

  Dim size() const override { return static_cast<Dim>(ends_.size()); }
  std::string key(Dim index) const override { return std::string(at(index)); }
  std::span<const std::byte> value(Dim index, std::string& buffer) const override {
    const std::string_view key = at(index);
    leveldb::ReadOptions options;
    options.verify_checksums = true;
    check(folder_, db_->Get(options, leveldb::Slice(key.data(), key.size()), &buffer), "cannot be read");
    return std::as_bytes(std::span(buffer));
  }

 private:
  std::string_view at(Dim index) const {
    const auto i = static_cast<std::size_t>(index);
    const std::size_t first = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(keys_).substr(first, ends_[i] - first);
  }

  std::filesystem::path folder_;
  std::unique_ptr<leveldb::DB> db_;
  std::string keys_;  // one after the other
  std::vector<std::size_t> ends_;
};

class LevelWriter final : public KeyValueWriter {
 public:
  explicit LevelWriter(const std::filesystem::path& folder) : folder_(folder), db_(open(folder, true)) {}
  void put(const std::string& key, std::string_view value) override {
    batch_.Put(key, leveldb::Slice(value.data(), value.size()));
    if (++pending_ == 1000) write(false);
  }
  void finish() override {
    write(true);
    db_.reset();
  }

 private:
  void write(bool sync) {
    leveldb::WriteOptions options;
    options.sync = sync;
    check(folder_, db_->Write(options, &batch_), "cannot be written");
    batch_.Clear();
    pending_ = 0;
  }

  std::filesystem::path folder_;
  std::unique_ptr<leveldb::DB> db_;
  leveldb::WriteBatch batch_;
  int pending_ = 0;
};

}  // namespace

std::shared_ptr<const KeyValues> open_leveldb(const std::filesystem::path& folder) {
  return std::make_shared<LevelValues>(folder);
}

std::unique_ptr<KeyValueWriter> make_leveldb(const std::filesystem::path& folder) {
  return std::make_unique<LevelWriter>(folder);
}

}  // namespace sparknet::caffe

#else

namespace sparknet::caffe {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& folder) {
  throw DataError(
      folder.string(),
      -1,
      "is a matter of LevelDB, and this library was built without it (Debian: apt-get install libleveldb-dev, then "
      "build again)");
}

}  // namespace

std::shared_ptr<const KeyValues> open_leveldb(const std::filesystem::path& folder) {
  refuse(folder);
}
std::unique_ptr<KeyValueWriter> make_leveldb(const std::filesystem::path& folder) {
  refuse(folder);
}

}  // namespace sparknet::caffe

#endif
