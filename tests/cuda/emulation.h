#pragma once

// A stand-in for the few functions of CUDA's runtime, cuBLAS, cuBLASLt and cuDNN that kernels/cuda uses, for machines
// without a GPU: "device" memory is memory of the host, and "kernels" are functions that g++ has made of the same
// sources. It is declared by the toolkit's own headers and linked in the place of its libraries.
//
// What it proves:
//   - arithmetic: each kernel's and each call's, as far as one element after the other gives it; new memory is full of
//     NaN, and TF32 is rounded to where a call lets it in;
//   - order: nothing runs before somebody waits for it, and then only that and what it depends on. A wait that is
//     missing, or a buffer that is used again too early, gives wrong numbers every time;
//   - bounds: memory of the device is out of the host's reach while no kernel runs, what lies around each array is out
//     of everybody's reach, and addresses of the host are out of the kernels' reach; a slip dies where it is made. What
//     is left of the last page is looked at when the memory is freed. (Under AddressSanitizer memory is the heap's,
//     where it sees what goes beyond an array, and host and kernels reach each other's;)
//   - recording: what may not be done while a step is recorded is refused, and a graph runs with its own copies of the
//     kernels' parameters.
// What it does not prove: that the threads of a block do not race, speed, occupancy, limits of registers, how the GPU
// rounds a function, and what the libraries themselves do (which algorithms they offer, what they do not support).
//
// Variables of the environment:
//   SPARKNET_EMULATED_GPUS     how many there are: 1
//   SPARKNET_EMULATED_MEMORY   of each, in MiB: 8192
//   SPARKNET_EMULATION=eager   runs everything at once
//   SPARKNET_EMULATION_GUARD=0 lets the host reach the device's memory, for debuggers

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

/// Bytes that have been allocated and not freed, of all kinds.
extern "C" std::size_t emulated_bytes_in_use();

namespace sparknet::emulation {

struct Options {
  int devices, major;
  std::size_t memory_bytes;
  bool eager, guard;
};
/// As the environment has it; tests change it.
Options& options();

/// Where CUDA would do harm and say nothing.
[[noreturn]] void die(const std::string& why);

// For the libraries.

/// Puts work into a stream, or into the graph that the stream records.
cudaError_t submit(cudaStream_t stream, std::function<void()> work);
/// What a call begins with that allocates memory or waits: an error while a recording forbids it.
cudaError_t may_wait();
/// Waits for all work of the thread's device.
cudaError_t wait_for_device();
int current_device();
/// Inside work: dies if the GPU would not see all these bytes.
void require(const void* memory, std::size_t bytes, std::size_t alignment, const char* what);

// Memory. The runtime calls these one at a time.

enum class Place : std::uint8_t { Host, Pinned, Managed, Device };

struct Block {
  std::uintptr_t begin;
  std::size_t bytes;
  Place place;
  int device;
  /// The pages that it ends in, of the reservation.
  std::uintptr_t first_page, end_page;
};

/// Null where there is no more; filled with 0xff.
void* allocate(Place place, int device, std::size_t bytes);
void release(const Block& block);
/// The block that an address is in, or null.
const Block* block_of(const void* memory);
/// Whether memory may be there that is none of the host's.
bool is_reserved(const void* memory);
std::size_t bytes_in_use(int device);
std::size_t bytes_in_use();

/// Makes what in a kernel's parameter is an address of the host's memory one of no memory. Only the upper half of it
/// is changed, as what looks like an address may be a small number and what was in its padding.
void hide_host_addresses(void* parameter, std::size_t bytes);

/// While it lives, a device's memory is within reach, and that of no other device.
class Access {
 public:
  static constexpr int kAll = -2;
  explicit Access(int device);
  ~Access();
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;

 private:
  int before_;
};

}  // namespace sparknet::emulation
