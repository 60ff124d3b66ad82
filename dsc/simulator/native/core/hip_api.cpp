// The functions of libamdhip64.so.6 that dsc's devices for TVM call, those that capture graphs, and others that programs
// like to. Work is done when a function returns, unless its stream is captured.
#include <cstdlib>
#include <cstring>

#include "copies.h"
#include "errors.h"
#include "global_memory.h"
#include "hip_properties.h"
#include "machine.h"
#include "modules.h"
#include "streams.h"

using namespace simulator;

namespace {

// hipMemcpyKind.
enum Kind { kHostToHost, kHostToDevice, kDeviceToHost, kDeviceToDevice, kByAddress };

int copy(void *to, const void *from, size_t size, int kind, void *stream) {
  bool is_to_device = kind == kHostToDevice || kind == kDeviceToDevice;
  bool is_from_device = kind == kDeviceToHost || kind == kDeviceToDevice;
  bool is_as_said = is_to_device == in_global_range(to) && is_from_device == in_global_range(from);
  if (kind < kHostToHost || kind > kByAddress || (size && kind != kByAddress && !is_as_said)) return kInvalidValue;
  return submit(stream, [=] { return copy_memory(to, from, size); });
}

}  // namespace

#define API extern "C" __attribute__((visibility("default")))

API const char *hipGetErrorName(int error) { return error_name(error); }
API const char *hipGetErrorString(int error) { return error_name(error); }
API int hipGetLastError() { return kSuccess; }
API int hipPeekAtLastError() { return kSuccess; }

API int hipGetDeviceCount(int *count) {
  *count = settings().active ? 1 : 0;
  return settings().active ? kSuccess : kNoDevice;
}
API int hipGetDevice(int *device) {
  *device = 0;
  return kSuccess;
}
API int hipSetDevice(int device) { return device == 0 ? kSuccess : kInvalidDevice; }
API int hipDeviceSynchronize() { return check_unsafe_call(); }
API int hipDeviceGetName(char *name, int size, int) {
  if (size <= 0) return kInvalidValue;
  strncpy(name, kHipName, static_cast<size_t>(size));
  name[size - 1] = 0;
  return kSuccess;
}
API int hipGetDeviceProperties(void *properties, int device) {
  if (device != 0) return kInvalidDevice;
  fill_properties(properties, HipLayout::kR0000);
  return kSuccess;
}
API int hipGetDevicePropertiesR0600(void *properties, int device) {
  if (device != 0) return kInvalidDevice;
  fill_properties(properties, HipLayout::kR0600);
  return kSuccess;
}
API int hipMemGetInfo(size_t *free, size_t *total) {
  GlobalUse use = global_use();
  *free = use.total - use.used;
  *total = use.total;
  return kSuccess;
}

API int hipMalloc(void **memory, size_t size) {
  if (int error = check_unsafe_call()) return error;
  *memory = size ? global_allocate(size) : nullptr;
  return *memory || !size ? kSuccess : kOutOfMemory;
}
API int hipFree(void *memory) {
  if (int error = check_unsafe_call()) return error;
  return !memory || global_free(memory) ? kSuccess : kInvalidValue;
}
API int hipHostMalloc(void **memory, size_t size, unsigned) {
  if (int error = check_unsafe_call()) return error;
  *memory = malloc(size);
  return *memory || !size ? kSuccess : kOutOfMemory;
}
API int hipHostFree(void *memory) {
  if (int error = check_unsafe_call()) return error;
  free(memory);
  return kSuccess;
}
API int hipMemcpy(void *to, const void *from, size_t size, int kind) {
  if (int error = check_unsafe_call()) return error;
  return copy(to, from, size, kind, nullptr);
}
API int hipMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
  return copy(to, from, size, kind, stream);
}
API int hipMemcpyPeerAsync(void *to, int target, const void *from, int source, size_t size, void *stream) {
  return target || source ? kInvalidDevice : submit(stream, [=] { return copy_memory(to, from, size); });
}
API int hipMemset(void *to, int byte, size_t size) {
  if (int error = check_unsafe_call()) return error;
  return submit(nullptr, [=] { return set_memory(to, byte, size); });
}
API int hipMemsetAsync(void *to, int byte, size_t size, void *stream) {
  return submit(stream, [=] { return set_memory(to, byte, size); });
}

API int hipStreamCreate(void **stream) { return create_stream(stream, 0); }
API int hipStreamCreateWithFlags(void **stream, unsigned flags) { return create_stream(stream, flags); }
API int hipStreamDestroy(void *stream) { return destroy_stream(stream); }
API int hipStreamSynchronize(void *stream) { return synchronize_stream(stream); }
API int hipStreamWaitEvent(void *stream, void *, unsigned) { return check_uncapturable_call(stream); }

API int hipEventCreateWithFlags(void **event, unsigned) {
  *event = new Event;
  return kSuccess;
}
API int hipEventCreate(void **event) { return hipEventCreateWithFlags(event, 0); }
API int hipEventDestroy(void *event) {
  delete static_cast<Event *>(event);
  return kSuccess;
}
API int hipEventRecord(void *event, void *stream) {
  if (int error = check_uncapturable_call(stream)) return error;
  record(*static_cast<Event *>(event));
  return kSuccess;
}
API int hipEventSynchronize(void *) { return kSuccess; }
API int hipEventElapsedTime(float *elapsed, void *from, void *to) {
  *elapsed = static_cast<float>(static_cast<Event *>(to)->milliseconds - static_cast<Event *>(from)->milliseconds);
  return kSuccess;
}

API int hipModuleLoadData(void **module, const void *bytes) { return load_module(module, bytes); }
API int hipModuleUnload(void *module) { return unload_module(module); }
API int hipModuleGetFunction(void **function, void *module, const char *name) {
  return module_function(function, module, name);
}
// Arguments as one piece of memory (`extra`) say nothing of where each begins.
API int hipModuleLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                              unsigned block_y, unsigned block_z, unsigned dynamic_shared, void *stream,
                              void **arguments, void **extra) {
  if (extra) return kNotSupported;
  return launch_function(stream, function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, dynamic_shared,
                         arguments);
}

API int hipStreamBeginCapture(void *stream, int mode) { return begin_capture(stream, mode); }
API int hipStreamEndCapture(void *stream, void **graph) { return end_capture(stream, graph); }
API int hipGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
  return flags ? kNotSupported : instantiate_graph(executable, graph);
}
API int hipGraphLaunch(void *executable, void *stream) { return launch_graph(executable, stream); }
API int hipGraphDestroy(void *graph) { return destroy_graph(graph); }
API int hipGraphExecDestroy(void *executable) { return destroy_executable(executable); }
