// The functions of libcudart.so.13 that TVM's runtime for CUDA calls, and those that capture graphs. Work is done when a
// function returns, unless its stream is captured.
#include <cstdlib>
#include <cstring>

#include "copies.h"
#include "errors.h"
#include "global_memory.h"
#include "machine.h"
#include "streams.h"

using namespace simulator;

namespace {

// Numbers of cudaDeviceAttr.
enum Attribute {
  kMaxThreadsPerBlock = 1,
  kMaxBlockDimX = 2,
  kMaxBlockDimY = 3,
  kMaxBlockDimZ = 4,
  kMaxGridDimX = 5,
  kMaxGridDimY = 6,
  kMaxGridDimZ = 7,
  kMaxSharedMemoryPerBlock = 8,
  kWarpSize = 10,
  kMaxRegistersPerBlock = 12,
  kClockRate = 13,
  kMultiProcessorCount = 16,
  kL2CacheSize = 38,
  kMaxThreadsPerMultiProcessor = 39,
  kComputeCapabilityMajor = 75,
  kComputeCapabilityMinor = 76,
  kMaxSharedMemoryPerMultiprocessor = 81,
  kMaxRegistersPerMultiprocessor = 82,
  kMaxSharedMemoryPerBlockOptin = 97,
};

// -1 for what is not known here.
int attribute(int which) {
  const Machine &machine = simulator::machine();
  switch (which) {
    case kMaxThreadsPerBlock:
    case kMaxBlockDimX:
    case kMaxBlockDimY:
      return machine.max_threads;
    case kMaxBlockDimZ:
      return 64;
    case kMaxGridDimX:
      return INT32_MAX;
    case kMaxGridDimY:
    case kMaxGridDimZ:
      return 65535;
    case kMaxSharedMemoryPerBlock:
      return machine.shared_bytes;
    case kMaxSharedMemoryPerBlockOptin:
      return machine.shared_bytes_optin;
    case kMaxSharedMemoryPerMultiprocessor:
      return machine.shared_bytes_per_processor;
    case kWarpSize:
      return 32;
    case kMaxRegistersPerBlock:
    case kMaxRegistersPerMultiprocessor:
      return machine.registers;
    case kClockRate:
      return machine.clock_khz;
    case kMultiProcessorCount:
      return machine.processors;
    case kL2CacheSize:
      return machine.l2_bytes;
    case kMaxThreadsPerMultiProcessor:
      return machine.max_threads_per_processor;
    case kComputeCapabilityMajor:
      return machine.major;
    case kComputeCapabilityMinor:
      return machine.minor;
  }
  return -1;
}

// The beginning of cudaDeviceProp, whose first members have not moved since CUDA 10.
struct Properties {
  char name[256];
  char uuid[16];
  char luid[8];
  unsigned luid_mask;
  size_t memory;
};

}  // namespace

#define API extern "C" __attribute__((visibility("default")))

API int cudaGetDeviceCount(int *count) {
  *count = settings().active ? 1 : 0;
  return settings().active ? kSuccess : kNoDevice;
}
API int cudaGetDevice(int *device) {
  *device = 0;
  return kSuccess;
}
API int cudaSetDevice(int device) { return device == 0 ? kSuccess : kInvalidDevice; }
API int cudaDeviceGetAttribute(int *value, int which, int) {
  *value = attribute(which);
  return *value < 0 ? kInvalidValue : kSuccess;
}
API int cudaGetDeviceProperties(void *properties, int) {
  auto *first = static_cast<Properties *>(properties);
  memset(first, 0, sizeof(*first));
  strcpy(first->name, kCudaName);
  first->memory = machine().memory;
  return kSuccess;
}
API int cudaMemGetInfo(size_t *free, size_t *total) {
  GlobalUse use = global_use();
  *free = use.total - use.used;
  *total = use.total;
  return kSuccess;
}

API int cudaMalloc(void **memory, size_t size) {
  if (int error = check_unsafe_call()) return error;
  *memory = global_allocate(size);
  return *memory ? kSuccess : kOutOfMemory;
}
API int cudaFree(void *memory) {
  if (int error = check_unsafe_call()) return error;
  return !memory || global_free(memory) ? kSuccess : kInvalidValue;
}
API int cudaMallocHost(void **memory, size_t size) {
  if (int error = check_unsafe_call()) return error;
  *memory = malloc(size);
  return *memory || !size ? kSuccess : kOutOfMemory;
}
API int cudaFreeHost(void *memory) {
  if (int error = check_unsafe_call()) return error;
  free(memory);
  return kSuccess;
}
API int cudaMemcpyAsync(void *to, const void *from, size_t size, int, void *stream) {
  return submit(stream, [=] { return copy_memory(to, from, size); });
}
API int cudaMemcpyPeerAsync(void *to, int, const void *from, int, size_t size, void *stream) {
  return submit(stream, [=] { return copy_memory(to, from, size); });
}

API const char *cudaGetErrorName(int error) { return error_name(error); }
API const char *cudaGetErrorString(int error) { return error_name(error); }
API int cudaGetLastError() { return kSuccess; }
API int cudaPeekAtLastError() { return kSuccess; }

API int cudaStreamCreate(void **stream) { return create_stream(stream, 0); }
API int cudaStreamCreateWithFlags(void **stream, unsigned flags) { return create_stream(stream, flags); }
API int cudaStreamDestroy(void *stream) { return destroy_stream(stream); }
API int cudaStreamSynchronize(void *stream) { return synchronize_stream(stream); }
API int cudaStreamWaitEvent(void *stream, void *, unsigned) { return check_uncapturable_call(stream); }

API int cudaEventCreate(void **event) {
  *event = new Event;
  return kSuccess;
}
API int cudaEventDestroy(void *event) {
  delete static_cast<Event *>(event);
  return kSuccess;
}
API int cudaEventRecord(void *event, void *stream) {
  if (int error = check_uncapturable_call(stream)) return error;
  record(*static_cast<Event *>(event));
  return kSuccess;
}
API int cudaEventSynchronize(void *) { return kSuccess; }
API int cudaEventElapsedTime(float *elapsed, void *from, void *to) {
  *elapsed = static_cast<float>(static_cast<Event *>(to)->milliseconds - static_cast<Event *>(from)->milliseconds);
  return kSuccess;
}

API int cudaStreamBeginCapture(void *stream, int mode) { return begin_capture(stream, mode); }
API int cudaStreamEndCapture(void *stream, void **graph) { return end_capture(stream, graph); }
API int cudaGraphInstantiate(void **executable, void *graph, unsigned long long flags) {
  return flags ? kNotSupported : instantiate_graph(executable, graph);
}
API int cudaGraphLaunch(void *executable, void *stream) { return launch_graph(executable, stream); }
API int cudaGraphDestroy(void *graph) { return destroy_graph(graph); }
API int cudaGraphExecDestroy(void *executable) { return destroy_executable(executable); }
