#include "src/c/handles.h"

#include <fmt/format.h>

#include <cstring>

namespace sparknet::c {
namespace {

/// The last message of each thread; after running out of memory there is a text that needs none.
thread_local std::string message;
thread_local const char* plain = nullptr;

sparknet_status keep(sparknet_status status, const char* what) noexcept {
  try {
    message = what;
    plain = nullptr;
  } catch (...) {
    plain = "there is not enough memory, neither for the call nor for its message";
  }
  return status;
}

}  // namespace

sparknet_status failed() noexcept {
  try {
    throw;
  } catch (const ShapeError& error) {
    return keep(SPARKNET_SHAPE_ERROR, error.what());
  } catch (const DTypeError& error) {
    return keep(SPARKNET_DTYPE_ERROR, error.what());
  } catch (const DataError& error) {
    return keep(SPARKNET_DATA_ERROR, error.what());
  } catch (const NetError& error) {
    return keep(SPARKNET_NET_ERROR, error.what());
  } catch (const DeviceError& error) {
    return keep(SPARKNET_DEVICE_ERROR, error.what());
  } catch (const std::bad_alloc&) {
    return keep(SPARKNET_MEMORY_ERROR, "there is not enough memory");
  } catch (const std::exception& error) {
    return keep(SPARKNET_ERROR, error.what());
  } catch (...) {
    return keep(SPARKNET_ERROR, "something was thrown that is no exception of C++'s");
  }
}

void require_given(const void* pointer, const char* what) {
  if (pointer == nullptr) throw Error(fmt::format("{} is NULL", what));
}

std::string_view text_of(sparknet_text text, const char* what) {
  if (text.size > 0) require_given(text.data, what);
  return {text.data, text.size};
}

void give_text(sparknet_bytes** out, std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  give(out, std::vector<std::byte>(bytes.begin(), bytes.end()));
}

void give_json(sparknet_bytes** out, const Json& json) {
  give_text(out, json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Tensor tensor_of(const sparknet_tensor& tensor, const std::string& what) {
  if (tensor.dtype < 0 || tensor.dtype > SPARKNET_I32)
    throw DTypeError(fmt::format("{}: there is no element type {}", what, tensor.dtype));
  if (tensor.rank < 0 || tensor.rank > SPARKNET_MAX_RANK)
    throw ShapeError(fmt::format("{}: a rank of {}; 0 to {} are possible", what, tensor.rank, SPARKNET_MAX_RANK));
  const Shape shape(std::span<const Dim>(tensor.shape, static_cast<std::size_t>(tensor.rank)));
  if (shape.count() > 0) require_given(tensor.data, (what + ".data").c_str());
  static std::byte nothing;
  return Tensor::borrow(tensor.data ? tensor.data : &nothing, shape, static_cast<DType>(tensor.dtype));
}

sparknet_tensor tensor_to(const Tensor& tensor) {
  if (tensor.rank() > SPARKNET_MAX_RANK)
    throw ShapeError(fmt::format("a tensor of {} dimensions; {} are the most here", tensor.rank(), SPARKNET_MAX_RANK));
  sparknet_tensor to{};
  to.data = const_cast<std::byte*>(tensor.raw());
  to.dtype = static_cast<std::int32_t>(tensor.dtype());
  to.rank = static_cast<std::int32_t>(tensor.rank());
  std::copy(tensor.shape().begin(), tensor.shape().end(), to.shape);
  return to;
}

Json shape_to(const Shape& shape) {
  return Json(std::vector<Dim>(shape.begin(), shape.end()));
}

void copy_weights_to(const Tensor& arena, void* out, std::size_t bytes) {
  if (bytes != arena.bytes())
    throw ShapeError(fmt::format("room for {} bytes was given, and the weights take up {}", bytes, arena.bytes()));
  if (bytes == 0) return;
  require_given(out, "out");
  Tensor::borrow(out, arena.shape(), arena.dtype()).copy_from(arena);
}

}  // namespace sparknet::c

using namespace sparknet::c;

uint32_t sparknet_c_version(void) {
  return SPARKNET_C_VERSION;
}

sparknet_text sparknet_message(void) {
  if (plain) return {plain, std::strlen(plain)};
  return {message.data(), message.size()};
}

const void* sparknet_bytes_data(const sparknet_bytes* bytes) {
  return bytes ? bytes->bytes.data() : nullptr;
}
size_t sparknet_bytes_size(const sparknet_bytes* bytes) {
  return bytes ? bytes->bytes.size() : 0;
}
void sparknet_bytes_free(sparknet_bytes* bytes) {
  delete bytes;
}
