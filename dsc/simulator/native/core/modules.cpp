#include "modules.h"

#include <deque>
#include <mutex>

#include "errors.h"

namespace simulator {

namespace {

struct Function {
  const Image *image;
  const SimulatorKernel *kernel;
};

}  // namespace

int load_module(void **module, const void *bytes) {
  std::string error;
  *module = load_image(bytes, error);
  if (!*module) set_image_error(error.c_str());
  return *module ? kSuccess : kInvalidImage;
}

int unload_module(void *module) {
  unload_image(static_cast<Image *>(module));
  return kSuccess;
}

int module_function(void **function, void *module, const char *name) {
  const auto &image = *static_cast<Image *>(module);
  const SimulatorKernel *kernel = find_kernel(image, name);
  if (!kernel) return kNotFound;
  // as long as the process: drivers have no call to release one
  static auto *given = new std::deque<Function>;
  static std::mutex one_at_a_time;
  std::lock_guard<std::mutex> lock(one_at_a_time);
  *function = &given->emplace_back(Function{&image, kernel});
  return kSuccess;
}

int launch_function(void *function, SimulatorIndex grid, SimulatorIndex block, size_t dynamic_shared,
                    void **arguments) {
  const auto &called = *static_cast<Function *>(function);
  return launch(*called.image, *called.kernel, grid, block, dynamic_shared, arguments) ? kSuccess : kLaunchFailed;
}

}  // namespace simulator
