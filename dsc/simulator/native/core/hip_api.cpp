// The functions of libamdhip64.so.6 that dsc's devices for TVM call, and others that programs like to. Everything is
// done when a function returns, so streams are names only.
#include <cstdlib>
#include <cstring>

#include "copies.h"
#include "errors.h"
#include "global_memory.h"
#include "hip_properties.h"
#include "machine.h"
#include "modules.h"

using namespace simulator;

namespace {

// hipMemcpyKind.
enum Kind { kHostToHost, kHostToDevice, kDeviceToHost, kDeviceToDevice, kByAddress };

int copy(void *to, const void *from, size_t size, int kind) {
  bool is_to_device = kind == kHostToDevice || kind == kDeviceToDevice;
  bool is_from_device = kind == kDeviceToHost || kind == kDeviceToDevice;
  bool is_as_said = is_to_device == in_global_range(to) && is_from_device == in_global_range(from);
  if (kind < kHostToHost || kind > kByAddress || (size && kind != kByAddress && !is_as_said)) return kInvalidValue;
  return copy_memory(to, from, size);
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
API int hipDeviceSynchronize() { return kSuccess; }
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
  *memory = size ? global_allocate(size) : nullptr;
  return *memory || !size ? kSuccess : kOutOfMemory;
}
API int hipFree(void *memory) { return !memory || global_free(memory) ? kSuccess : kInvalidValue; }
API int hipHostMalloc(void **memory, size_t size, unsigned) {
  *memory = malloc(size);
  return *memory || !size ? kSuccess : kOutOfMemory;
}
API int hipHostFree(void *memory) {
  free(memory);
  return kSuccess;
}
API int hipMemcpy(void *to, const void *from, size_t size, int kind) { return copy(to, from, size, kind); }
API int hipMemcpyAsync(void *to, const void *from, size_t size, int kind, void *) { return copy(to, from, size, kind); }
API int hipMemcpyPeerAsync(void *to, int target, const void *from, int source, size_t size, void *) {
  return target || source ? kInvalidDevice : copy_memory(to, from, size);
}
API int hipMemset(void *to, int byte, size_t size) { return set_memory(to, byte, size); }
API int hipMemsetAsync(void *to, int byte, size_t size, void *) { return set_memory(to, byte, size); }

API int hipStreamCreate(void **stream) {
  *stream = new char;  // so that two are not one
  return kSuccess;
}
API int hipStreamCreateWithFlags(void **stream, unsigned) { return hipStreamCreate(stream); }
API int hipStreamDestroy(void *stream) {
  delete static_cast<char *>(stream);
  return kSuccess;
}
API int hipStreamSynchronize(void *) { return kSuccess; }
API int hipStreamWaitEvent(void *, void *, unsigned) { return kSuccess; }

API int hipEventCreateWithFlags(void **event, unsigned) {
  *event = new Event;
  return kSuccess;
}
API int hipEventCreate(void **event) { return hipEventCreateWithFlags(event, 0); }
API int hipEventDestroy(void *event) {
  delete static_cast<Event *>(event);
  return kSuccess;
}
API int hipEventRecord(void *event, void *) {
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
                              unsigned block_y, unsigned block_z, unsigned dynamic_shared, void *, void **arguments,
                              void **extra) {
  if (extra) return kNotSupported;
  return launch_function(function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, dynamic_shared, arguments);
}
