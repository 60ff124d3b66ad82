// The functions of libcuda.so.1 that TVM's runtime for CUDA calls.
#include <cstring>

#include "errors.h"
#include "launch.h"

using namespace simulator;

#define API extern "C" __attribute__((visibility("default")))

namespace {

struct Function {
  const Image *image;
  const SimulatorKernel *kernel;
};

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
  strncpy(name, kDeviceName, static_cast<size_t>(size));
  return kSuccess;
}

API int cuModuleLoadData(void **module, const void *bytes) {
  std::string error;
  *module = load_image(bytes, error);
  if (!*module) set_image_error(error.c_str());
  return *module ? kSuccess : kInvalidImage;
}
API int cuModuleUnload(void *module) {
  unload_image(static_cast<Image *>(module));
  return kSuccess;
}
API int cuModuleGetFunction(void **function, void *module, const char *name) {
  const auto &image = *static_cast<Image *>(module);
  const SimulatorKernel *kernel = find_kernel(image, name);
  if (!kernel) return kNotFound;
  *function = new Function{&image, kernel};  // as long as the process: CUDA has no call to release one
  return kSuccess;
}

API int cuFuncSetAttribute(void *, int attribute, int value) {
  bool is_too_much = attribute == kMaxDynamicSharedBytes && value > machine().shared_bytes_optin;
  return is_too_much ? kInvalidValue : kSuccess;
}

// Attributes say how blocks are spread over a device (clusters, cooperation), which is not simulated.
API int cuLaunchKernelEx(const LaunchConfig *config, void *function, void **arguments, void **) {
  if (config->attribute_count) return kNotSupported;
  const auto &called = *static_cast<Function *>(function);
  SimulatorIndex grid{config->grid[0], config->grid[1], config->grid[2]};
  SimulatorIndex block{config->block[0], config->block[1], config->block[2]};
  bool is_right = launch(*called.image, *called.kernel, grid, block, config->shared_bytes, arguments);
  return is_right ? kSuccess : kLaunchFailed;
}

API int cuGetErrorName(int error, const char **name) {
  *name = error_name(error);
  return kSuccess;
}
API int cuGetErrorString(int error, const char **text) { return cuGetErrorName(error, text); }

API int cuTensorMapEncodeTiled() { return kNotSupported; }
