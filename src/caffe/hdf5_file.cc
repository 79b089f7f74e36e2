#include "src/caffe/hdf5_file.h"

#include <fmt/format.h>

#include "sparknet/error.h"
#include "src/io/atomic_file.h"
#include "src/io/bytes.h"

#ifdef SPARKNET_WITH_HDF5

#include <fcntl.h>
#include <hdf5.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <system_error>

namespace sparknet::caffe {
namespace {

static_assert(sizeof(hid_t) == sizeof(std::int64_t));

/// While it lives HDF5 is this thread's alone (it may have been built for one thread) and prints nothing.
class Quiet {
 public:
  Quiet() : lock_(mutex()) {
    H5Eget_auto2(H5E_DEFAULT, &print_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~Quiet() { H5Eset_auto2(H5E_DEFAULT, print_, data_); }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  static std::recursive_mutex& mutex() {
    static std::recursive_mutex one;
    return one;
  }
  std::lock_guard<std::recursive_mutex> lock_;
  H5E_auto2_t print_ = nullptr;
  void* data_ = nullptr;
};

/// Where HDF5's last failure began, in its own words.
std::string last_error() {
  std::string text;
  const auto keep = [](unsigned n, const H5E_error2_t* error, void* to) -> herr_t {
    if (n == 0 && error->desc) *static_cast<std::string*>(to) = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep, &text);
  return text.empty() ? "HDF5 does not say why" : text;
}

hid_t memory_type(DType dtype) {
  switch (dtype) {
    case DType::F32: return H5T_NATIVE_FLOAT;
    case DType::F64: return H5T_NATIVE_DOUBLE;
    case DType::U8: return H5T_NATIVE_UINT8;
    case DType::I32: return H5T_NATIVE_INT32;
    case DType::BF16: break;
  }
  return H5I_INVALID_HID;
}

std::vector<hsize_t> sizes(const Shape& shape) {
  std::vector<hsize_t> dims;
  for (const Dim dim : shape) dims.push_back(static_cast<hsize_t>(dim));
  return dims;
}

Hdf5Handle simple_space(const std::vector<hsize_t>& dims, const hsize_t* max = nullptr) {
  return Hdf5Handle(
      dims.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(static_cast<int>(dims.size()), dims.data(), max));
}

Hdf5Handle file_access() {
  Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS));
#if H5_VERSION_GE(1, 10, 7)
  H5Pset_file_locking(access.id(), false, true);  // many processes may read one file, on whatever file system
#endif
  return access;
}

}  // namespace

bool Hdf5Handle::close() {
  const hid_t id = std::exchange(id_, -1);
  if (id < 0) return true;
  const Quiet quiet;
  switch (H5Iget_type(id)) {
    case H5I_FILE: return H5Fclose(id) >= 0;
    case H5I_GROUP: return H5Gclose(id) >= 0;
    case H5I_DATASET: return H5Dclose(id) >= 0;
    case H5I_DATASPACE: return H5Sclose(id) >= 0;
    case H5I_DATATYPE: return H5Tclose(id) >= 0;
    case H5I_GENPROP_LST: return H5Pclose(id) >= 0;
    default: return H5Oclose(id) >= 0;
  }
}

Hdf5Reader::Hdf5Reader(const std::filesystem::path& file) : name_(file.string()) {
  std::error_code ignored;
  const std::filesystem::file_status status = std::filesystem::status(file, ignored);
  if (!std::filesystem::exists(status)) throw DataError(name_, -1, "there is no such file");
  if (std::filesystem::is_directory(status)) throw DataError(name_, -1, "this is a folder, and a file is wanted");
  const Quiet quiet;
  opened(H5Fopen(name_.c_str(), H5F_ACC_RDONLY, file_access().id()));
}

Hdf5Reader::Hdf5Reader(std::string name, std::span<const std::byte> content) : name_(std::move(name)) {
  const Quiet quiet;
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_fapl_core(access.id(), std::size_t{1} << 16, false);
  // HDF5 copies the image and takes a pointer to what is not const.
  H5Pset_file_image(access.id(), const_cast<std::byte*>(content.data()), content.size());
  opened(H5Fopen("sparknet: in memory", H5F_ACC_RDONLY, access.id()));  // no file may have this name
}

void Hdf5Reader::opened(std::int64_t id) {
  if (id < 0) throw DataError(name_, -1, "is no file that HDF5 can read: " + last_error());
  file_ = Hdf5Handle(id);
}

void Hdf5Reader::fail(const std::string& path, const std::string& why) const {
  throw DataError(name_, -1, fmt::format("\"{}\": {}", path, why));
}

Hdf5Reader::Kind Hdf5Reader::kind(const std::string& path) const {
  const Quiet quiet;
  // HDF5 answers for the last name of a path only, and only if the others are there.
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (part != "/" && (H5Lexists(file_.id(), part.c_str(), H5P_DEFAULT) <= 0 ||
                        H5Oexists_by_name(file_.id(), part.c_str(), H5P_DEFAULT) <= 0))
      return Kind::None;
    if (end == std::string::npos) break;
  }
  const Hdf5Handle object(H5Oopen(file_.id(), path.c_str(), H5P_DEFAULT));
  if (object.id() < 0) return Kind::None;
  switch (H5Iget_type(object.id())) {
    case H5I_GROUP: return Kind::Group;
    case H5I_DATASET: return Kind::Dataset;
    default: return Kind::Other;
  }
}

std::vector<std::string> Hdf5Reader::names(const std::string& group) const {
  const Quiet quiet;
  if (kind(group) != Kind::Group) fail(group, "there is no such group");
  const Hdf5Handle open(H5Gopen2(file_.id(), group.c_str(), H5P_DEFAULT));
  H5G_info_t about;
  if (open.id() < 0 || H5Gget_info(open.id(), &about) < 0) fail(group, last_error());
  std::vector<std::string> names;
  for (hsize_t i = 0; i < about.nlinks; ++i) {
    const auto get = [&](char* to, std::size_t size) {
      const ssize_t length = H5Lget_name_by_idx(open.id(), ".", H5_INDEX_NAME, H5_ITER_INC, i, to, size, H5P_DEFAULT);
      if (length < 0) fail(group, last_error());
      return static_cast<std::size_t>(length);
    };
    std::string& name = names.emplace_back(get(nullptr, 0), '\0');
    get(name.data(), name.size() + 1);
  }
  return names;
}

Hdf5Handle Hdf5Reader::open_dataset(const std::string& path) const {
  if (kind(path) != Kind::Dataset) fail(path, "there is no such array");
  Hdf5Handle dataset(H5Dopen2(file_.id(), path.c_str(), H5P_DEFAULT));
  if (dataset.id() < 0) fail(path, last_error());
  return dataset;
}

Hdf5Reader::Info Hdf5Reader::info(const std::string& path, const Hdf5Handle& dataset) const {
  Info info{};
  const Hdf5Handle type(H5Dget_type(dataset.id())), space(H5Dget_space(dataset.id()));
  const std::size_t size = H5Tget_size(type.id());
  const H5T_class_t kind = H5Tget_class(type.id());
  if (kind == H5T_FLOAT)
    info.dtype = size <= 4 ? DType::F32 : DType::F64;
  else if (kind == H5T_INTEGER && H5Tget_sign(type.id()) == H5T_SGN_NONE)
    info.dtype = size == 1 ? DType::U8 : size == 2 ? DType::I32 : DType::F64;
  else if (kind == H5T_INTEGER)
    info.dtype = size <= 4 ? DType::I32 : DType::F64;
  else
    fail(path, "holds something else than numbers");

  const int rank = H5Sget_simple_extent_ndims(space.id());
  if (rank < 0) fail(path, "is no array");
  if (static_cast<std::size_t>(rank) > Shape::max_rank)
    fail(path, fmt::format("has {} dimensions, and a tensor has at most {}", rank, Shape::max_rank));
  std::array<hsize_t, Shape::max_rank> dims{};
  if (H5Sget_simple_extent_dims(space.id(), dims.data(), nullptr) < 0) fail(path, last_error());
  for (std::size_t i = 0; i < static_cast<std::size_t>(rank); ++i) info.shape.push_back(static_cast<Dim>(dims[i]));
  if (!detail::is_possible(info.shape)) fail(path, "has an impossible shape");
  return info;
}

std::uint64_t Hdf5Reader::size() const {
  hsize_t size = 0;
  H5Fget_filesize(file_.id(), &size);
  return size;
}

std::uint64_t Hdf5Reader::stored_size(const Hdf5Handle& dataset) const {
  return std::min<std::uint64_t>(H5Dget_storage_size(dataset.id()), size());
}

Hdf5Reader::Info Hdf5Reader::info(const std::string& path) const {
  const Quiet quiet;
  return info(path, open_dataset(path));
}

Tensor Hdf5Reader::read(const std::string& path, std::optional<DType> as) const {
  const Quiet quiet;
  const Hdf5Handle dataset = open_dataset(path);
  const Info about = info(path, dataset);
  const DType dtype = as.value_or(about.dtype);
  // What was never written takes up no place in the file; deflate packs at most 1032 to 1.
  const Dim count = about.shape.count();
  const std::uint64_t stored = stored_size(dataset);
  if (static_cast<hsize_t>(count) / 1100 > stored)
    fail(path, fmt::format("is said to hold {} numbers, and {} bytes are stored", count, stored));
  Tensor values(about.shape, dtype);
  if (count > 0 && H5Dread(dataset.id(), memory_type(dtype), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.raw()) < 0)
    fail(path, "cannot be read: " + last_error());
  return values;
}

std::int64_t Hdf5Reader::read_int(const std::string& path) const {
  const Quiet quiet;
  const Hdf5Handle dataset = open_dataset(path);
  const Info about = info(path, dataset);
  if (about.shape.count() != 1) fail(path, "is no single number but an array " + to_string(about.shape));
  std::int64_t value = 0;
  if (H5Dread(dataset.id(), H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, &value) < 0)
    fail(path, "cannot be read: " + last_error());
  return value;
}

std::string Hdf5Reader::read_text(const std::string& path) const {
  const Quiet quiet;
  const Hdf5Handle dataset = open_dataset(path);
  const Hdf5Handle type(H5Dget_type(dataset.id())), space(H5Dget_space(dataset.id()));
  if (H5Tget_class(type.id()) != H5T_STRING) fail(path, "is no text");
  if (H5Sget_simple_extent_npoints(space.id()) != 1) fail(path, "is not one text");
  if (H5Tis_variable_str(type.id()) > 0) {
    char* text = nullptr;
    if (H5Dread(dataset.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, &text) < 0 || text == nullptr)
      fail(path, "cannot be read: " + last_error());
    std::string copy = text;
    H5Dvlen_reclaim(type.id(), space.id(), H5P_DEFAULT, &text);
    return copy;
  }
  const std::size_t size = H5Tget_size(type.id());
  if (size > stored_size(dataset)) fail(path, fmt::format("is said to have {} letters", size));
  std::string text(size, '\0');
  if (H5Dread(dataset.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()) < 0)
    fail(path, "cannot be read: " + last_error());
  text.resize(std::min(text.find('\0'), text.size()));
  return text;
}

Hdf5Writer::Hdf5Writer(std::filesystem::path file)
    : target_(std::move(file)), name_(target_.string() + ".tmp" + std::to_string(::getpid())) {
  const Quiet quiet;
  file_ = Hdf5Handle(H5Fcreate(name_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, file_access().id()));
  if (file_.id() < 0) throw DataError(target_.string(), -1, "cannot be created: " + last_error());
  create_groups_ = Hdf5Handle(H5Pcreate(H5P_LINK_CREATE));
  H5Pset_create_intermediate_group(create_groups_.id(), 1);
}

Hdf5Writer::~Hdf5Writer() {
  if (file_.id() < 0) return;
  file_.close();
  ::unlink(name_.c_str());
}

void Hdf5Writer::fail(const std::string& path, const std::string& why) const {
  throw DataError(target_.string(), -1, fmt::format("\"{}\": {}", path, why));
}

void Hdf5Writer::group(const std::string& path) {
  const Quiet quiet;
  const Hdf5Handle made(H5Gcreate2(file_.id(), path.c_str(), create_groups_.id(), H5P_DEFAULT, H5P_DEFAULT));
  if (made.id() < 0) fail(path, "cannot be made: " + last_error());
}

void Hdf5Writer::write(const std::string& path, const Tensor& values) {
  const Quiet quiet;
  const Tensor dense = values.is_contiguous() ? values : values.copy();
  const hid_t type = memory_type(dense.dtype());
  const Hdf5Handle space = simple_space(sizes(dense.shape()));
  const Hdf5Handle dataset(
      H5Dcreate2(file_.id(), path.c_str(), type, space.id(), create_groups_.id(), H5P_DEFAULT, H5P_DEFAULT));
  if (dataset.id() < 0) fail(path, "cannot be made: " + last_error());
  if (dense.count() > 0 && H5Dwrite(dataset.id(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, dense.raw()) < 0)
    fail(path, "cannot be written: " + last_error());
}

void Hdf5Writer::write_int(const std::string& path, std::int32_t value) {
  write(path, Tensor::from({1}, {value}));
}

void Hdf5Writer::write_text(const std::string& path, const std::string& text) {
  const Quiet quiet;
  const Hdf5Handle type(H5Tcopy(H5T_C_S1)), space = simple_space({});
  H5Tset_size(type.id(), text.size() + 1);
  const Hdf5Handle dataset(
      H5Dcreate2(file_.id(), path.c_str(), type.id(), space.id(), create_groups_.id(), H5P_DEFAULT, H5P_DEFAULT));
  if (dataset.id() < 0 || H5Dwrite(dataset.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, text.c_str()) < 0)
    fail(path, "cannot be written: " + last_error());
}

void Hdf5Writer::append(const std::string& path, const Tensor& rows) {
  const Quiet quiet;
  if (rows.rank() == 0) fail(path, "a single number is no row");
  const Tensor dense = rows.is_contiguous() ? rows : rows.copy();
  const hid_t type = memory_type(dense.dtype());
  const std::vector<hsize_t> dims = sizes(dense.shape());
  Hdf5Handle dataset(H5Dopen2(file_.id(), path.c_str(), H5P_DEFAULT));
  if (dataset.id() < 0) {
    std::vector<hsize_t> none = dims, most = dims, chunk = dims;
    none[0] = 0;
    most[0] = H5S_UNLIMITED;
    for (hsize_t& dim : chunk) dim = std::max<hsize_t>(dim, 1);
    const std::size_t row_bytes = static_cast<std::size_t>(dense.shape().count(1)) * size_of(dense.dtype());
    chunk[0] = std::max<hsize_t>(1, (hsize_t{1} << 16) / std::max<std::size_t>(row_bytes, 1));
    const Hdf5Handle layout(H5Pcreate(H5P_DATASET_CREATE)), space = simple_space(none, most.data());
    H5Pset_chunk(layout.id(), static_cast<int>(chunk.size()), chunk.data());
    dataset = Hdf5Handle(
        H5Dcreate2(file_.id(), path.c_str(), type, space.id(), create_groups_.id(), layout.id(), H5P_DEFAULT));
    if (dataset.id() < 0) fail(path, "cannot be made: " + last_error());
  }
  std::vector<hsize_t> before(dims.size());
  {
    const Hdf5Handle space(H5Dget_space(dataset.id()));
    const bool same_rank = H5Sget_simple_extent_ndims(space.id()) == static_cast<int>(dims.size());
    if (same_rank) H5Sget_simple_extent_dims(space.id(), before.data(), nullptr);
    if (!same_rank || !std::equal(dims.begin() + 1, dims.end(), before.begin() + 1))
      fail(path, "rows of another shape were written before: now they are " + to_string(dense.shape()));
  }
  if (dense.count() == 0) return;
  std::vector<hsize_t> after = before, start(dims.size(), 0);
  after[0] += dims[0];
  start[0] = before[0];
  if (H5Dset_extent(dataset.id(), after.data()) < 0) fail(path, "cannot grow: " + last_error());
  const Hdf5Handle in_file(H5Dget_space(dataset.id())), in_memory = simple_space(dims);
  if (H5Sselect_hyperslab(in_file.id(), H5S_SELECT_SET, start.data(), nullptr, dims.data(), nullptr) < 0 ||
      H5Dwrite(dataset.id(), type, in_memory.id(), in_file.id(), H5P_DEFAULT, dense.raw()) < 0)
    fail(path, "cannot be written: " + last_error());
}

void Hdf5Writer::commit() {
  const auto refuse = [&](const std::string& why) {
    ::unlink(name_.c_str());
    throw DataError(target_.string(), -1, why);
  };
  {
    const Quiet quiet;
    if (!file_.close()) refuse("cannot be closed: " + last_error());
  }
  const int descriptor = ::open(name_.c_str(), O_RDWR | O_CLOEXEC);
  const bool synced = descriptor >= 0 && ::fsync(descriptor) == 0;
  const std::string why = std::strerror(errno);
  if (descriptor >= 0) ::close(descriptor);
  if (!synced) refuse("cannot be brought to the disk: " + why);
  try {
    detail::rename_made(name_, target_);
  } catch (const DataError&) {
    ::unlink(name_.c_str());
    throw;
  }
}

}  // namespace sparknet::caffe

#else

namespace sparknet::caffe {
namespace {

[[noreturn]] void refuse(const std::string& file) {
  throw DataError(
      file,
      -1,
      "is a matter of HDF5, and this library was built without it (Debian: apt-get install libhdf5-dev, then build "
      "again)");
}

}  // namespace

bool Hdf5Handle::close() {
  return true;
}

Hdf5Reader::Hdf5Reader(const std::filesystem::path& file) {
  refuse(file.string());
}
Hdf5Reader::Hdf5Reader(std::string name, std::span<const std::byte>) {
  refuse(name);
}
void Hdf5Reader::fail(const std::string&, const std::string&) const {
  refuse(name_);
}
std::uint64_t Hdf5Reader::size() const {
  return 0;
}
Hdf5Reader::Kind Hdf5Reader::kind(const std::string&) const {
  return Kind::None;
}
std::vector<std::string> Hdf5Reader::names(const std::string&) const {
  return {};
}
Hdf5Reader::Info Hdf5Reader::info(const std::string&) const {
  return {};
}
Tensor Hdf5Reader::read(const std::string&, std::optional<DType>) const {
  return {};
}
std::int64_t Hdf5Reader::read_int(const std::string&) const {
  return 0;
}
std::string Hdf5Reader::read_text(const std::string&) const {
  return {};
}

Hdf5Writer::Hdf5Writer(std::filesystem::path file) {
  refuse(file.string());
}
Hdf5Writer::~Hdf5Writer() = default;
void Hdf5Writer::group(const std::string&) {}
void Hdf5Writer::write(const std::string&, const Tensor&) {}
void Hdf5Writer::write_int(const std::string&, std::int32_t) {}
void Hdf5Writer::write_text(const std::string&, const std::string&) {}
void Hdf5Writer::append(const std::string&, const Tensor&) {}
void Hdf5Writer::commit() {}

}  // namespace sparknet::caffe

#endif
