#include "sparknet/error.h"
#include "src/caffe/key_value.h"

#ifdef SPARKNET_WITH_LMDB

#include <lmdb.h>

#include <cerrno>
#include <utility>
#include <vector>

namespace sparknet::caffe {
namespace {

class Environment {
 public:
  explicit Environment(const std::filesystem::path& folder) : name_(folder.string()) {
    check(mdb_env_create(&env_), "cannot be opened");
  }
  ~Environment() {
    if (txn_) mdb_txn_abort(txn_);
    if (env_) mdb_env_close(env_);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  void check(int code, const char* what) const {
    if (code != MDB_SUCCESS) throw DataError(name_, -1, std::string("LMDB: ") + what + ": " + mdb_strerror(code));
  }
  int open(unsigned flags) { return mdb_env_open(env_, name_.c_str(), flags, 0664); }
  void reset() {
    mdb_env_close(std::exchange(env_, nullptr));
    check(mdb_env_create(&env_), "cannot be opened");
  }
  void begin(unsigned flags) {
    check(mdb_txn_begin(env_, nullptr, flags, &txn_), "cannot begin a transaction");
    check(mdb_dbi_open(txn_, nullptr, 0, &dbi_), "has no main database");
  }
  void commit() { check(mdb_txn_commit(std::exchange(txn_, nullptr)), "cannot be written"); }

  MDB_env* env() const { return env_; }
  MDB_txn* txn() const { return txn_; }
  MDB_dbi dbi() const { return dbi_; }

 private:
  std::string name_;
  MDB_env* env_ = nullptr;
  MDB_txn* txn_ = nullptr;
  MDB_dbi dbi_ = 0;
};

/// What lies in the mapped file stays where it is while the reading transaction lasts, so that the index is addresses.
class LmdbValues final : public KeyValues {
 public:
  explicit LmdbValues(const std::filesystem::path& folder) : env_(folder) {
    std::error_code ignored;
    const bool file = std::filesystem::is_regular_file(folder, ignored);
    if (!file && !std::filesystem::is_regular_file(folder / "data.mdb", ignored))
      throw DataError(folder.string(), -1, "is no LMDB database: it has no file data.mdb");
    const unsigned flags = MDB_RDONLY | MDB_NOTLS | (file ? MDB_NOSUBDIR : 0u);
    int code = env_.open(flags);
    if (code == EACCES) {  // nobody writes where no lock may be written
      env_.reset();
      code = env_.open(flags | MDB_NOLOCK);
    }
    env_.check(code, "cannot be opened");
    // What is mapped behind the file's end cannot be looked at.
    MDB_envinfo info;
    MDB_stat stat;
    env_.check(mdb_env_info(env_.env(), &info), "cannot be read");
    env_.check(mdb_env_stat(env_.env(), &stat), "cannot be read");
    const std::size_t pages = std::filesystem::file_size(file ? folder : folder / "data.mdb", ignored) / stat.ms_psize;
    if (pages <= info.me_last_pgno)
      throw DataError(
          folder.string(),
          -1,
          "the database is cut off: it has " + std::to_string(info.me_last_pgno + 1) + " pages, and " +
              std::to_string(pages) + " are there");
    env_.begin(MDB_RDONLY);
    MDB_cursor* cursor = nullptr;
    env_.check(mdb_cursor_open(env_.txn(), env_.dbi(), &cursor), "cannot be read");
    const std::unique_ptr<MDB_cursor, decltype(&mdb_cursor_close)> closes(cursor, mdb_cursor_close);
    Entry entry{};
    int found = mdb_cursor_get(cursor, &entry.key, &entry.value, MDB_FIRST);
    for (; found == MDB_SUCCESS; found = mdb_cursor_get(cursor, &entry.key, &entry.value, MDB_NEXT))
      entries_.push_back(entry);
    if (found != MDB_NOTFOUND) env_.check(found, "cannot be read");
  }

  Dim size() const override { return static_cast<Dim>(entries_.size()); }
  std::string key(Dim index) const override {
    const MDB_val& key = entries_[static_cast<std::size_t>(index)].key;
    return {static_cast<const char*>(key.mv_data), key.mv_size};
  }
  std::span<const std::byte> value(Dim index, std::string&) const override {
    const MDB_val& value = entries_[static_cast<std::size_t>(index)].value;
    return {static_cast<const std::byte*>(value.mv_data), value.mv_size};
  }

 private:
  struct Entry {
    MDB_val key, value;
  };
  Environment env_;
  std::vector<Entry> entries_;
};

class LmdbWriter final : public KeyValueWriter {
 public:
  LmdbWriter(const std::filesystem::path& folder, std::size_t bytes) : env_(folder) {
    env_.check(mdb_env_set_mapsize(env_.env(), bytes), "cannot be made as large");
    env_.check(env_.open(MDB_NOSYNC), "cannot be made");
    env_.begin(0);
  }
  void put(const std::string& key, std::string_view value) override {
    MDB_val k{key.size(), const_cast<char*>(key.data())}, v{value.size(), const_cast<char*>(value.data())};
    env_.check(mdb_put(env_.txn(), env_.dbi(), &k, &v, MDB_NOOVERWRITE), "cannot be written");
    if (++pending_ < 1000) return;
    pending_ = 0;
    env_.commit();
    env_.begin(0);
  }
  void finish() override {
    env_.commit();
    env_.check(mdb_env_sync(env_.env(), 1), "cannot be brought to the disk");
  }

 private:
  Environment env_;
  int pending_ = 0;
};

}  // namespace

std::shared_ptr<const KeyValues> open_lmdb(const std::filesystem::path& folder) {
  return std::make_shared<LmdbValues>(folder);
}

std::unique_ptr<KeyValueWriter> make_lmdb(const std::filesystem::path& folder, std::size_t bytes) {
  return std::make_unique<LmdbWriter>(folder, bytes);
}

}  // namespace sparknet::caffe

#else

namespace sparknet::caffe {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& folder) {
  throw DataError(
      folder.string(),
      -1,
      "is a matter of LMDB, and this library was built without it (Debian: apt-get install liblmdb-dev, then build "
      "again)");
}

}  // namespace

std::shared_ptr<const KeyValues> open_lmdb(const std::filesystem::path& folder) {
  refuse(folder);
}
std::unique_ptr<KeyValueWriter> make_lmdb(const std::filesystem::path& folder, std::size_t) {
  refuse(folder);
}

}  // namespace sparknet::caffe

#endif
