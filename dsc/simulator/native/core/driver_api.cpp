// The functions of libcuda.so.1 that TVM's runtime for CUDA calls.
#include <cstring>

#include "errors.h"
#include "modules.h"

using namespace simulator;

#define API extern "C" __attribute__((visibility("default")))

namespace {

// CUlaunchConfig.
struct LaunchConfig {
  unsigned grid[3], block[3];
  unsigned shared_bytes;
  void *stream;
  void *attributes;
  unsigned attribute_count;
};

constexpr int kMaxDynamicSharedBytes = 8;  // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES

}  // namespace

API int cuDeviceGetName(char *name, int size, int) {
  strncpy(name, kCudaName, static_cast<size_t>(size));
  return kSuccess;
}

API int cuModuleLoadData(void **module, const void *bytes) { return load_module(module, bytes); }
API int cuModuleUnload(void *module) { return unload_module(module); }
API int cuModuleGetFunction(void **function, void *module, const char *name) {
  return module_function(function, module, name);
}

API int cuFuncSetAttribute(void *, int attribute, int value) {
  bool is_too_much = attribute == kMaxDynamicSharedBytes && value > machine().shared_bytes_optin;
  return is_too_much ? kInvalidValue : kSuccess;
}

// Attributes say how blocks are spread over a device (clusters, cooperation), which is not simulated.
API int cuLaunchKernelEx(const LaunchConfig *config, void *function, void **arguments, void **) {
  if (config->attribute_count) return kNotSupported;
  SimulatorIndex grid{config->grid[0], config->grid[1], config->grid[2]};
  SimulatorIndex block{config->block[0], config->block[1], config->block[2]};
  return launch_function(config->stream, function, grid, block, config->shared_bytes, arguments);
}

API int cuGetErrorName(int error, const char **name) {
  *name = error_name(error);
  return kSuccess;
}
API int cuGetErrorString(int error, const char **text) { return cuGetErrorName(error, text); }

API int cuTensorMapEncodeTiled() { return kNotSupported; }
