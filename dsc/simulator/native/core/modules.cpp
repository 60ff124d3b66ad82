#include "modules.h"

#include <cstddef>
#include <cstring>
#include <deque>
#include <mutex>
#include <vector>

#include "errors.h"
#include "streams.h"

namespace simulator {

namespace {

struct Function {
  const Image *image;
  const SimulatorKernel *kernel;
};

// Copies of a kernel's arguments, each where any type may lie.
class Arguments {
 public:
  Arguments(const SimulatorKernel &kernel, void **given) {
    for (int i = 0; i < kernel.arguments; ++i) {
      size_t bytes = static_cast<size_t>(kernel.argument_bytes[i]);
      auto &value = values_.emplace_back((bytes + sizeof(Piece) - 1) / sizeof(Piece));
      memcpy(value.data(), given[i], bytes);
    }
  }

  std::vector<void *> addresses() const {
    std::vector<void *> found;
    for (const std::vector<Piece> &value : values_) found.push_back(const_cast<Piece *>(value.data()));
    return found;
  }

 private:
  using Piece = std::max_align_t;
  std::vector<std::vector<Piece>> values_;
};

}  // namespace

int load_module(void **module, const void *bytes) {
  std::string error;
  *module = load_image(bytes, error);
  if (!*module) set_image_error(error.c_str());
  return *module ? kSuccess : kInvalidImage;
}

int unload_module(void *module) {
  if (int error = check_unsafe_call()) return error;
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

int launch_function(void *stream, void *function, SimulatorIndex grid, SimulatorIndex block, size_t dynamic_shared,
                    void **arguments) {
  const Function called = *static_cast<Function *>(function);
  auto work = [=, kept = Arguments(*called.kernel, arguments)]() -> int {
    std::vector<void *> addresses = kept.addresses();
    bool is_right = launch(*called.image, *called.kernel, grid, block, dynamic_shared, addresses.data());
    return is_right ? kSuccess : kLaunchFailed;
  };
  return submit(stream, work, &submissions().kernels);
}

}  // namespace simulator
