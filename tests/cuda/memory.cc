#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "tests/cuda/emulation.h"

#if defined(__SANITIZE_ADDRESS__)
#define SPARKNET_EMULATION_HEAP 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SPARKNET_EMULATION_HEAP 1
#endif
#endif

namespace sparknet::emulation {
namespace {

#ifdef SPARKNET_EMULATION_HEAP
constexpr bool kHeap = true;
#else
constexpr bool kHeap = false;
#endif

constexpr std::size_t kAlignment = 256;
constexpr int kNobody = -1;

struct Memory {
  std::map<std::uintptr_t, Block> blocks;
  /// Those of devices, which are not always within reach.
  std::set<const Block*> guarded;
  std::vector<std::size_t> in_use;
  std::size_t pinned = 0;
  int open_to = kNobody;

  // The reservation of addresses: blocks are put behind one another, and at the end begin again between those that live
  // still, so that an address that was freed is not soon another's.
  static constexpr std::size_t kReserved = std::size_t{64} << 30;
  std::size_t page = 4096;
  std::uintptr_t begin = 0, end = 0, next = 0;

  Memory() {
    if (kHeap) return;
    page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    void* const got = mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (got == MAP_FAILED) die("there are no addresses for the device's memory");
    madvise(got, kReserved, MADV_HUGEPAGE);  // as the time that mprotect takes goes with the number of pages
    begin = next = reinterpret_cast<std::uintptr_t>(got);
    end = begin + kReserved;
  }

  void protect(const Block& block, bool open) const {
    void* const pages = reinterpret_cast<void*>(block.first_page);
    if (mprotect(pages, block.end_page - block.first_page, open ? PROT_READ | PROT_WRITE : PROT_NONE) != 0)
      die("mprotect failed; there may be too many blocks");
  }

  /// A page behind the block before, and one before the block behind.
  std::uintptr_t place_for(std::size_t bytes) {
    std::uintptr_t at = next + page;
    for (int round = 0; round < 2; ++round) {
      auto behind = blocks.lower_bound(at);
      if (behind != blocks.begin()) at = std::max(at, std::prev(behind)->second.end_page + page);
      for (; behind != blocks.end() && behind->second.first_page < at + bytes + page; ++behind)
        at = behind->second.end_page + page;
      if (at + bytes + page <= end) return at;
      at = begin + page;
    }
    return 0;
  }

  bool is_open(const Block& block, int to) const {
    return block.place != Place::Device || !options().guard || to == Access::kAll || to == block.device;
  }

  void open(int to) {
    if (kHeap || to == open_to) return;
    for (const Block* block : guarded) {
      const bool was = is_open(*block, open_to), is = is_open(*block, to);
      if (was != is) protect(*block, is);
    }
    open_to = to;
  }

  std::size_t& counter(Place place, int device) {
    if (place == Place::Pinned) return pinned;
    const auto index = static_cast<std::size_t>(device);
    if (in_use.size() <= index) in_use.resize(index + 1);
    return in_use[index];
  }
};

Memory& memory() {
  static Memory& memory = *new Memory;  // for those that free in destructors of statics
  return memory;
}

std::uintptr_t address(const void* memory) {
  return reinterpret_cast<std::uintptr_t>(memory);
}

std::string text_of(std::uintptr_t address) {
  char text[32];
  std::snprintf(text, sizeof text, "%#zx", static_cast<std::size_t>(address));
  return text;
}

long number(const char* variable, long otherwise) {
  const char* const text = std::getenv(variable);
  return text ? std::atol(text) : otherwise;
}

}  // namespace

Options& options() {
  static Options options = [] {
    const char* const kind = std::getenv("SPARKNET_EMULATION");
    return Options{
        static_cast<int>(number("SPARKNET_EMULATED_GPUS", 1)),
        static_cast<int>(number("SPARKNET_EMULATED_MAJOR", 9)),
        static_cast<std::size_t>(number("SPARKNET_EMULATED_MEMORY", 8192)) << 20,
        kind && std::strcmp(kind, "eager") == 0,
        number("SPARKNET_EMULATION_GUARD", 1) != 0};
  }();
  return options;
}

void die(const std::string& why) {
  std::fprintf(stderr, "emulated CUDA: %s\n", why.c_str());
  std::abort();
}

void* allocate(Place place, int device, std::size_t bytes) {
  Memory& m = memory();
  std::size_t& in_use = m.counter(place, device);
  if (place != Place::Pinned && bytes > options().memory_bytes - std::min(in_use, options().memory_bytes))
    return nullptr;
  Block block{0, bytes, place, device, 0, 0};
  if (kHeap) {
    void* got = nullptr;
    if (posix_memalign(&got, kAlignment, bytes) != 0) return nullptr;
    block.begin = address(got);
    std::memset(got, 0xff, bytes);
  } else {
    if (bytes > Memory::kReserved) return nullptr;
    const std::size_t pages = (bytes + m.page - 1) / m.page * m.page;
    block.first_page = m.place_for(pages);
    if (block.first_page == 0) return nullptr;
    block.end_page = m.next = block.first_page + pages;
    block.begin = block.end_page - (bytes + kAlignment - 1) / kAlignment * kAlignment;
    m.protect(block, true);
    std::memset(reinterpret_cast<void*>(block.first_page), 0xff, pages);
    if (!m.is_open(block, m.open_to)) m.protect(block, false);
  }
  in_use += bytes;
  const Block& kept = m.blocks.emplace(block.begin, block).first->second;
  if (place == Place::Device) m.guarded.insert(&kept);
  return reinterpret_cast<void*>(block.begin);
}

void release(const Block& block) {
  Memory& m = memory();
  if (kHeap) {
    std::free(reinterpret_cast<void*>(block.begin));
  } else {
    m.protect(block, true);
    const auto check = [&](std::uintptr_t from, std::uintptr_t to) {
      for (; from < to; ++from) {
        if (*reinterpret_cast<const unsigned char*>(from) != 0xff)
          die("something has been written to " + text_of(from) + ", beside the " + std::to_string(block.bytes) +
              " bytes at " + text_of(block.begin));
      }
    };
    check(block.first_page, block.begin);
    check(block.begin + block.bytes, block.end_page);
    madvise(reinterpret_cast<void*>(block.first_page), block.end_page - block.first_page, MADV_DONTNEED);
    m.protect(block, false);
  }
  m.counter(block.place, block.device) -= block.bytes;
  m.guarded.erase(&block);
  m.blocks.erase(block.begin);
}

const Block* block_of(const void* pointer) {
  const auto& blocks = memory().blocks;
  const auto behind = blocks.upper_bound(address(pointer));
  if (behind == blocks.begin()) return nullptr;
  const Block& block = std::prev(behind)->second;
  return address(pointer) - block.begin < block.bytes ? &block : nullptr;
}

bool is_reserved(const void* pointer) {
  return address(pointer) >= memory().begin && address(pointer) < memory().end;
}

std::size_t bytes_in_use(int device) {
  return memory().counter(Place::Device, device);
}

std::size_t bytes_in_use() {
  const Memory& m = memory();
  return std::accumulate(m.in_use.begin(), m.in_use.end(), m.pinned);
}

void require(const void* pointer, std::size_t bytes, std::size_t alignment, const char* what) {
  if (bytes == 0) return;
  if (address(pointer) % alignment != 0) die(std::string(what) + ": " + text_of(address(pointer)) + " is misaligned");
  const Block* const block = block_of(pointer);
  if (block && bytes <= block->bytes - (address(pointer) - block->begin)) return;
  die(std::string(what) + " goes beyond the device's memory with " + std::to_string(bytes) + " bytes at " +
      text_of(address(pointer)));
}

void hide_host_addresses(void* parameter, std::size_t bytes) {
  if (kHeap) return;  // where so much is mapped that numbers look like addresses
  const Memory& m = memory();
  auto* const at = static_cast<unsigned char*>(parameter);
  for (std::size_t offset = 0; offset + sizeof(std::uint64_t) <= bytes; offset += sizeof(std::uint64_t)) {
    std::uint64_t word;
    std::memcpy(&word, at + offset, sizeof word);
    if (word >> 32 == 0 || word >> 47 != 0) continue;
    void* const pointer = reinterpret_cast<void*>(word);
    if (is_reserved(pointer) || block_of(pointer) || block_of(static_cast<char*>(pointer) - 1)) continue;
    unsigned char resident;
    if (mincore(reinterpret_cast<void*>(word / m.page * m.page), 1, &resident) != 0) continue;
    word = (word & 0xffffffff) | std::uint64_t{0x00dead00} << 32;
    std::memcpy(at + offset, &word, sizeof word);
  }
}

Access::Access(int device) : before_(memory().open_to) {
  memory().open(device);
}

Access::~Access() {
  memory().open(before_);
}

}  // namespace sparknet::emulation
