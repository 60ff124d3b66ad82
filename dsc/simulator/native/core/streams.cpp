#include "streams.h"

#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "errors.h"

namespace simulator {

namespace {

using Graph = std::vector<Work>;

struct Executable {
  Graph nodes;
  std::mutex one_at_a_time;
};

enum class Capture { kNone, kActive, kInvalidated };

struct Stream {
  bool is_blocking = true;
  Capture capture = Capture::kNone;
  int mode = kGlobal;
  std::thread::id owner;  // of the capture
  std::unique_ptr<Graph> graph;

  bool forbids_unsafe_calls() const {
    bool is_callers = owner == std::this_thread::get_id();
    return capture == Capture::kActive && (mode == kGlobal || (mode == kThreadLocal && is_callers));
  }
};

std::mutex mutex;
std::set<Stream *> streams;  // that exist

// Null for the legacy stream; the error for what is no stream.
int find(void *handle, Stream **stream) {
  *stream = static_cast<Stream *>(handle);
  return !handle || streams.count(*stream) ? kSuccess : kInvalidHandle;
}

// The legacy stream waits for all blocking streams, which one that is captured cannot be waited for.
int check_legacy_stream() {
  int result = kSuccess;
  for (Stream *each : streams) {
    if (!each->is_blocking || each->capture != Capture::kActive) continue;
    each->capture = Capture::kInvalidated;
    result = kCaptureImplicit;
  }
  return result;
}

}  // namespace

int create_stream(void **stream, unsigned flags) {
  std::lock_guard<std::mutex> lock(mutex);
  auto *made = new Stream;
  made->is_blocking = !(flags & kNonBlocking);
  streams.insert(made);
  *stream = made;
  return kSuccess;
}

int destroy_stream(void *handle) {
  std::lock_guard<std::mutex> lock(mutex);
  Stream *stream = nullptr;
  if (find(handle, &stream) != kSuccess || !stream) return kInvalidHandle;
  streams.erase(stream);
  delete stream;
  return kSuccess;
}

int synchronize_stream(void *handle) { return check_uncapturable_call(handle); }

int submit(void *handle, Work work, std::atomic<uint64_t> *done) {
  {
    std::lock_guard<std::mutex> lock(mutex);
    Stream *stream = nullptr;
    if (int error = find(handle, &stream)) return error;
    if (!stream) {
      if (int error = check_legacy_stream()) return error;
    } else if (stream->capture == Capture::kInvalidated) {
      return kCaptureInvalidated;
    } else if (stream->capture == Capture::kActive) {
      stream->graph->push_back(std::move(work));
      return kSuccess;
    }
  }
  if (done) ++*done;
  return work();
}

int check_unsafe_call() {
  std::lock_guard<std::mutex> lock(mutex);
  int result = kSuccess;
  for (Stream *each : streams) {
    if (!each->forbids_unsafe_calls()) continue;
    each->capture = Capture::kInvalidated;
    result = kCaptureUnsupported;
  }
  return result;
}

int check_uncapturable_call(void *handle) {
  std::lock_guard<std::mutex> lock(mutex);
  Stream *stream = nullptr;
  if (int error = find(handle, &stream)) return error;
  if (!stream) return check_legacy_stream();
  if (stream->capture == Capture::kNone) return kSuccess;
  stream->capture = Capture::kInvalidated;
  return kCaptureUnsupported;
}

int begin_capture(void *handle, int mode) {
  std::lock_guard<std::mutex> lock(mutex);
  Stream *stream = nullptr;
  if (int error = find(handle, &stream)) return error;
  if (!stream) return kCaptureUnsupported;
  if (mode < kGlobal || mode > kRelaxed) return kInvalidValue;
  if (stream->capture != Capture::kNone) return kIllegalState;
  stream->capture = Capture::kActive;
  stream->mode = mode;
  stream->owner = std::this_thread::get_id();
  stream->graph = std::make_unique<Graph>();
  return kSuccess;
}

int end_capture(void *handle, void **graph) {
  std::lock_guard<std::mutex> lock(mutex);
  *graph = nullptr;
  Stream *stream = nullptr;
  if (int error = find(handle, &stream)) return error;
  if (!stream || stream->capture == Capture::kNone) return kIllegalState;
  if (stream->mode != kRelaxed && stream->owner != std::this_thread::get_id()) return kCaptureWrongThread;
  std::unique_ptr<Graph> captured = std::move(stream->graph);
  if (std::exchange(stream->capture, Capture::kNone) == Capture::kInvalidated) return kCaptureInvalidated;
  *graph = captured.release();
  return kSuccess;
}

int instantiate_graph(void **executable, const void *graph) {
  if (!graph) return kInvalidValue;
  auto made = std::make_unique<Executable>();
  made->nodes = *static_cast<const Graph *>(graph);
  *executable = made.release();
  return kSuccess;
}

int destroy_graph(void *graph) {
  delete static_cast<Graph *>(graph);
  return graph ? kSuccess : kInvalidValue;
}

int launch_graph(void *executable, void *handle) {
  if (!executable) return kInvalidValue;
  auto &graph = *static_cast<Executable *>(executable);
  {
    std::lock_guard<std::mutex> lock(mutex);
    Stream *stream = nullptr;
    if (int error = find(handle, &stream)) return error;
    if (stream && stream->capture != Capture::kNone) return kNotSupported;  // a graph within another
  }
  return submit(
      handle,
      [&graph] {
        std::lock_guard<std::mutex> lock(graph.one_at_a_time);
        for (const Work &node : graph.nodes)
          if (int error = node()) return error;
        return static_cast<int>(kSuccess);
      },
      &submissions().graphs);
}

int destroy_executable(void *executable) {
  delete static_cast<Executable *>(executable);
  return executable ? kSuccess : kInvalidValue;
}

Submissions &submissions() {
  static Submissions only;
  return only;
}

}  // namespace simulator
