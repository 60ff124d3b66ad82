// Streams, and the graphs that their work is captured to, as runtimes of GPUs have them. Work is done when it is
// submitted; that of a stream which is being captured becomes the next node of a graph instead, and is done whenever
// that is launched. What functions return is an `Error`.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>

namespace simulator {

using Work = std::function<int()>;

// Which other calls a capture forbids: cudaStreamCaptureMode, hipStreamCaptureMode.
enum CaptureMode { kGlobal, kThreadLocal, kRelaxed };

constexpr unsigned kNonBlocking = 1;  // flag of a stream that does not wait for the legacy stream, which is null

int create_stream(void **stream, unsigned flags);
int destroy_stream(void *stream);
int synchronize_stream(void *stream);

// `done` counts what was done at once.
int submit(void *stream, Work work, std::atomic<uint64_t> *done = nullptr);
// Whether a call may be made that a capture forbids, unless its mode allows it: allocating, copying without a stream.
// Where it may not, that capture has failed.
int check_unsafe_call();
// The same for a call of which no node can be made.
int check_uncapturable_call(void *stream);

int begin_capture(void *stream, int mode);
int end_capture(void *stream, void **graph);

int instantiate_graph(void **executable, const void *graph);
int destroy_graph(void *graph);
// All nodes in the order of their capture, up to the first that fails.
int launch_graph(void *executable, void *stream);
int destroy_executable(void *executable);

// What the device was given since the simulation began.
struct Submissions {
  std::atomic<uint64_t> kernels{0};  // launched one by one
  std::atomic<uint64_t> graphs{0};
};
Submissions &submissions();

}  // namespace simulator
