#pragma once

// What CUDA's handles of emulated GPUs point to, and how work goes through streams: what the functions in runtime.cc,
// streams.cc and graphs.cc share.

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "kernels/cuda/launch.h"
#include "tests/cuda/emulation.h"

namespace sparknet::emulation {

using kernels::cuda::HostKernel;

/// A piece of work of a stream or of a graph.
struct Work {
  std::function<void()> run;
  /// A copy between devices.
  bool reaches_all = false;
  /// Of kernels.
  const HostKernel* kernel = nullptr;
};

/// Where in a stream somebody waits to.
struct Mark {
  std::shared_ptr<CUstream_st> stream;
  std::uint64_t position = 0;
};

struct Capture {
  unsigned long long id;
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  CUstream_st* origin;
  std::unique_ptr<CUgraph_st> graph;
  /// All that record, the origin too.
  std::vector<CUstream_st*> streams;
  bool invalid = false, ended = false;
};

struct Record {
  Mark mark;
  std::shared_ptr<std::chrono::steady_clock::time_point> time;
};

}  // namespace sparknet::emulation

// What CUDA's handles point to.

struct CUstream_st {
  CUstream_st(int its_device, bool is_legacy, bool is_blocking)
      : device(its_device), legacy(is_legacy), blocking(is_blocking) {}

  int device;
  bool legacy, blocking;
  bool destroyed = false;
  std::deque<sparknet::emulation::Work> queue;
  std::uint64_t submitted = 0, done = 0;
  std::shared_ptr<sparknet::emulation::Capture> capture;
  /// While it records: what the next node comes after.
  std::vector<cudaGraphNode_t> after;
  std::vector<cudaGraphEdgeData> edges;
};

struct CUevent_st {
  int device;
  bool timed;
  std::optional<sparknet::emulation::Record> record;
  /// Where it was last recorded into a graph.
  std::shared_ptr<sparknet::emulation::Capture> capture;
  std::vector<cudaGraphNode_t> after;
};

struct CUgraphNode_st {
  sparknet::emulation::Work work;
  std::vector<cudaGraphNode_t> after;
};

struct CUgraph_st {
  /// In an order in which they may run.
  std::vector<std::unique_ptr<CUgraphNode_st>> nodes;
};

struct CUgraphExec_st {
  int device;
  std::vector<sparknet::emulation::Work> work;
  std::unordered_map<cudaGraphNode_t, std::size_t> places;
  sparknet::emulation::Mark last_launch;
};

namespace sparknet::emulation {

struct State {
  std::mutex mutex;
  std::vector<std::shared_ptr<CUstream_st>> streams;
  std::vector<std::shared_ptr<CUstream_st>> legacy;
  std::unordered_set<const void*> handles;
  std::vector<std::shared_ptr<Capture>> captures;
  unsigned long long last_capture = 0;

  State() {
    for (int device = 0; device < options().devices; ++device) {
      legacy.push_back(std::make_shared<CUstream_st>(device, true, true));
      streams.push_back(legacy.back());
    }
  }
};

State& state();

extern thread_local int thread_device;
extern thread_local cudaError_t thread_error;
extern thread_local cudaStreamCaptureMode thread_mode;

/// What every function is wrapped in.
template <class F>
cudaError_t call(const F& function) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const cudaError_t status = s.legacy.empty() ? cudaErrorNoDevice : function(s);
  if (status != cudaSuccess) thread_error = status;
  return status;
}

template <class T>
T* known(State& s, T* handle, const char* what) {
  if (!s.handles.count(handle)) die(std::string(what) + " that is none, or was destroyed");
  return handle;
}

CUstream_st* stream_of(State& s, cudaStream_t handle);
std::shared_ptr<CUstream_st> shared(State& s, const CUstream_st* stream);

// Running.

void run_until(CUstream_st& stream, std::uint64_t position);
void run_all(CUstream_st& stream);
void run_device(State& s, int device);
void push(CUstream_st& stream, Work work);
void push_wait(CUstream_st& stream, Mark mark);
/// The legacy stream and the blocking ones wait for each other.
void push_implicit_waits(State& s, CUstream_st& stream);

// Recording.

void invalidate(Capture& capture);
/// Of the legacy stream, which must not depend on what is recorded.
cudaError_t check_implicit(State& s, const CUstream_st& stream);
/// Of what waits for the stream.
cudaError_t check_waits(State& s, CUstream_st& stream);
/// Of what CUDA calls potentially unsafe.
cudaError_t check_unsafe(State& s);
/// Puts work into the stream or the graph that it records.
cudaError_t enqueue(State& s, CUstream_st& stream, Work work);

}  // namespace sparknet::emulation
