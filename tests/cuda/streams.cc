#include "tests/cuda/streams.h"

#include <utility>

namespace sparknet::emulation {

thread_local int thread_device = 0;
thread_local cudaError_t thread_error = cudaSuccess;
thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

State& state() {
  static State& state = *new State;  // for those that free in destructors of statics
  return state;
}

CUstream_st* stream_of(State& s, cudaStream_t handle) {
  if (!handle || handle == cudaStreamLegacy) return s.legacy[static_cast<std::size_t>(thread_device)].get();
  if (handle == cudaStreamPerThread) die("streams of threads are not emulated");
  return known(s, handle, "a stream");
}

std::shared_ptr<CUstream_st> shared(State& s, const CUstream_st* stream) {
  return *std::find_if(s.streams.begin(), s.streams.end(), [&](const auto& other) { return other.get() == stream; });
}

// Running.

void run_until(CUstream_st& stream, std::uint64_t position) {
  while (stream.done < position) {
    const Work work = std::move(stream.queue.front());
    stream.queue.pop_front();
    const Access access(work.reaches_all ? Access::kAll : stream.device);
    work.run();
    ++stream.done;
  }
}

void run_to(CUstream_st& stream, std::uint64_t position) {
  if (stream.done >= position) return;
  const Access access(stream.device);  // once, as it takes a while
  run_until(stream, position);
}

void run_all(CUstream_st& stream) {
  run_to(stream, stream.submitted);
}

void forget_destroyed(State& s) {
  const auto forgotten = [](const auto& stream) { return stream->destroyed && stream->queue.empty(); };
  s.streams.erase(std::remove_if(s.streams.begin(), s.streams.end(), forgotten), s.streams.end());
}

void run_device(State& s, int device) {
  for (const auto& stream : s.streams) {
    if (stream->device == device) run_all(*stream);
  }
  forget_destroyed(s);
}

void push(CUstream_st& stream, Work work) {
  stream.queue.push_back(std::move(work));
  ++stream.submitted;
}

void push_wait(CUstream_st& stream, Mark mark) {
  if (mark.stream.get() == &stream || mark.stream->done >= mark.position) return;
  push(stream, {[mark = std::move(mark)] { run_until(*mark.stream, mark.position); }});
}

void push_implicit_waits(State& s, CUstream_st& stream) {
  if (stream.legacy) {
    for (const auto& other : s.streams) {
      if (other->device == stream.device && other->blocking) push_wait(stream, {other, other->submitted});
    }
  } else if (stream.blocking) {
    const auto& legacy = s.legacy[static_cast<std::size_t>(stream.device)];
    push_wait(stream, {legacy, legacy->submitted});
  }
}

// Recording.

void invalidate(Capture& capture) {
  capture.invalid = true;
}

cudaError_t check_implicit(State& s, const CUstream_st& stream) {
  cudaError_t status = cudaSuccess;
  for (const auto& other : s.streams) {
    if (!stream.legacy || !other->capture || !other->blocking || other->device != stream.device) continue;
    invalidate(*other->capture);
    status = cudaErrorStreamCaptureImplicit;
  }
  return status;
}

cudaError_t check_waits(State& s, CUstream_st& stream) {
  if (!stream.capture) return check_implicit(s, stream);
  const bool was_invalid = std::exchange(stream.capture->invalid, true);
  return was_invalid ? cudaErrorStreamCaptureInvalidated : cudaErrorStreamCaptureUnsupported;
}

cudaError_t check_unsafe(State& s) {
  cudaError_t status = cudaSuccess;
  for (const auto& capture : s.captures) {
    const bool own = capture->thread == std::this_thread::get_id() && capture->mode != cudaStreamCaptureModeRelaxed;
    const bool any = thread_mode == cudaStreamCaptureModeGlobal && capture->mode == cudaStreamCaptureModeGlobal;
    if (thread_mode == cudaStreamCaptureModeRelaxed || (!own && !any)) continue;
    invalidate(*capture);
    status = cudaErrorStreamCaptureUnsupported;
  }
  return status;
}

cudaError_t enqueue(State& s, CUstream_st& stream, Work work) {
  if (Capture* const capture = stream.capture.get()) {
    if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
    auto& nodes = capture->graph->nodes;
    nodes.push_back(std::make_unique<CUgraphNode_st>(CUgraphNode_st{std::move(work), stream.after}));
    stream.after = {nodes.back().get()};
    s.handles.insert(nodes.back().get());
    return cudaSuccess;
  }
  if (const cudaError_t status = check_implicit(s, stream); status != cudaSuccess) return status;
  push_implicit_waits(s, stream);
  push(stream, std::move(work));
  if (options().eager) run_all(stream);
  return cudaSuccess;
}

cudaError_t submit(cudaStream_t stream, std::function<void()> work) {
  return call([&](State& s) {
    CUstream_st* const to = stream_of(s, stream);
    return to->device == thread_device ? enqueue(s, *to, {std::move(work)}) : cudaErrorInvalidResourceHandle;
  });
}

cudaError_t may_wait() {
  return call(check_unsafe);
}

cudaError_t wait_for_device() {
  return cudaDeviceSynchronize();
}

int current_device() {
  return thread_device;
}

}  // namespace sparknet::emulation

using namespace sparknet::emulation;

extern "C" {

// Streams.

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return call([&](State& s) {
    if (!stream || (flags != cudaStreamDefault && flags != cudaStreamNonBlocking)) return cudaErrorInvalidValue;
    s.streams.push_back(std::make_shared<CUstream_st>(thread_device, false, flags == cudaStreamDefault));
    *stream = s.streams.back().get();
    s.handles.insert(*stream);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call([&](State& s) {
    if (!stream) return cudaErrorInvalidResourceHandle;
    if (stream_of(s, stream)->capture) die("a stream is destroyed that records");
    s.handles.erase(stream);
    stream->destroyed = true;  // its work will be done still
    forget_destroyed(s);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return call([&](State& s) {
    CUstream_st* const waited = stream_of(s, stream);
    if (const cudaError_t status = check_waits(s, *waited); status != cudaSuccess) return status;
    if (const cudaError_t status = check_unsafe(s); status != cudaSuccess) return status;
    if (waited->legacy) push_implicit_waits(s, *waited);
    run_all(*waited);
    return cudaSuccess;
  });
}

/// Time goes by while somebody asks: a piece of work is done.
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return call([&](State& s) {
    CUstream_st* const asked = stream_of(s, stream);
    if (const cudaError_t status = check_waits(s, *asked); status != cudaSuccess) return status;
    if (const cudaError_t status = check_unsafe(s); status != cudaSuccess) return status;
    if (asked->legacy) push_implicit_waits(s, *asked);
    if (asked->done == asked->submitted) return cudaSuccess;
    run_until(*asked, asked->done + 1);
    return cudaErrorNotReady;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  return call([&](State& s) {
    CUstream_st* const waiting = stream_of(s, stream);
    if (!event) return cudaErrorInvalidResourceHandle;
    if (flags != cudaEventWaitDefault) return cudaErrorInvalidValue;
    known(s, event, "an event");
    const auto& capture = event->capture;
    if (waiting->capture && waiting->capture->invalid) return cudaErrorStreamCaptureInvalidated;
    if (!capture) {
      if (!event->record) return cudaSuccess;
      if (waiting->capture) {
        invalidate(*waiting->capture);
        return cudaErrorStreamCaptureIsolation;
      }
      if (const cudaError_t status = check_implicit(s, *waiting); status != cudaSuccess) return status;
      push_implicit_waits(s, *waiting);
      push_wait(*waiting, event->record->mark);
      return cudaSuccess;
    }
    if (capture->ended) return cudaErrorCapturedEvent;
    if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
    if (waiting->legacy) {
      invalidate(*capture);
      return cudaErrorStreamCaptureImplicit;
    }
    if (!waiting->capture) {
      waiting->capture = capture;
      capture->streams.push_back(waiting);
      waiting->after.clear();
    } else if (waiting->capture != capture) {
      invalidate(*capture);
      invalidate(*waiting->capture);
      return cudaErrorStreamCaptureMerge;
    }
    for (const cudaGraphNode_t node : event->after) {
      auto& after = waiting->after;
      if (std::find(after.begin(), after.end(), node) == after.end()) after.push_back(node);
    }
    return cudaSuccess;
  });
}

// Events.

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return call([&](State& s) {
    constexpr unsigned kKnown = cudaEventBlockingSync | cudaEventDisableTiming;
    if (!event || (flags & ~kKnown) != 0) return cudaErrorInvalidValue;
    *event = new CUevent_st{thread_device, (flags & cudaEventDisableTiming) == 0, {}, nullptr, {}};
    s.handles.insert(*event);
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call([&](State& s) {
    if (!event) return cudaErrorInvalidResourceHandle;
    s.handles.erase(known(s, event, "an event"));
    delete event;
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call([&](State& s) {
    CUstream_st* const recorded = stream_of(s, stream);
    if (!event) return cudaErrorInvalidResourceHandle;
    known(s, event, "an event");
    if (event->device != recorded->device) return cudaErrorInvalidResourceHandle;
    if (recorded->capture) {
      if (recorded->capture->invalid) return cudaErrorStreamCaptureInvalidated;
      event->record.reset();
      event->capture = recorded->capture;
      event->after = recorded->after;
      return cudaSuccess;
    }
    const auto time = std::make_shared<std::chrono::steady_clock::time_point>();
    const cudaError_t status = enqueue(s, *recorded, {[time] { *time = std::chrono::steady_clock::now(); }});
    if (status != cudaSuccess) return status;
    event->capture = nullptr;
    event->record = Record{{shared(s, recorded), recorded->submitted}, time};
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call([&](State& s) {
    if (!event) return cudaErrorInvalidResourceHandle;
    if (const auto& capture = known(s, event, "an event")->capture) {
      invalidate(*capture);
      return cudaErrorCapturedEvent;
    }
    if (const cudaError_t status = check_unsafe(s); status != cudaSuccess) return status;
    if (!event->record) return cudaSuccess;
    run_to(*event->record->mark.stream, event->record->mark.position);
    forget_destroyed(s);
    return cudaSuccess;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call([&](State& s) {
    if (!event) return cudaErrorInvalidResourceHandle;
    if (const auto& capture = known(s, event, "an event")->capture) {
      invalidate(*capture);
      return cudaErrorCapturedEvent;
    }
    if (const cudaError_t status = check_unsafe(s); status != cudaSuccess) return status;
    if (!event->record) return cudaSuccess;
    const Mark& mark = event->record->mark;
    if (mark.stream->done >= mark.position) return cudaSuccess;
    run_until(*mark.stream, mark.stream->done + 1);
    return cudaErrorNotReady;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return call([&](State& s) {
    if (!milliseconds) return cudaErrorInvalidValue;
    for (const cudaEvent_t event : {start, end}) {
      if (!event || !known(s, event, "an event")->timed || !event->record) return cudaErrorInvalidResourceHandle;
    }
    for (const cudaEvent_t event : {start, end}) {
      if (event->record->mark.stream->done < event->record->mark.position) return cudaErrorNotReady;
    }
    const std::chrono::duration<float, std::milli> elapsed = *end->record->time - *start->record->time;
    *milliseconds = elapsed.count();
    return cudaSuccess;
  });
}

}  // extern "C"
