#include "api.h"

#include <dlfcn.h>
#include <tvm/ffi/error.h>

#include <atomic>
#include <cstdlib>
#include <mutex>

namespace dsc::hip {

namespace {

// The versions whose interface is known, the newest first.
constexpr const char *kNames[] = {"libamdhip64.so.7", "libamdhip64.so.6"};
constexpr const char *kAdvice = "install ROCm (6 or newer), or set ROCM_PATH to the folder that it is in";

// ROCm's packages do not tell the system's loader of their folder.
std::string in_rocm(const char *name) {
  const char *folder = std::getenv("ROCM_PATH");
  return std::string(folder && *folder ? folder : "/opt/rocm") + "/lib/" + name;
}

// What this process has loaded is taken before anything else; else the loader's, else ROCm's.
void *open_library() {
  for (const char *name : kNames)
    if (void *found = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD)) return found;
  for (const char *name : kNames)
    if (void *found = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return found;
  for (const char *name : kNames)
    if (void *found = dlopen(in_rocm(name).c_str(), RTLD_NOW | RTLD_LOCAL)) return found;
  return nullptr;
}

// Null, and why, where a function is missing; else the library is kept for as long as the process lives.
const Api *bind(void *library, std::string &reason) {
  static Api bound;
  const char *missing = nullptr;
  auto find = [&](auto &function, const char *name) {
    function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, name));
    if (!function) missing = name;
  };
#define DSC_HIP_TEXT(name) #name
#define DSC_HIP_FIND(name) find(bound.name, DSC_HIP_TEXT(name));
  DSC_HIP_FUNCTIONS(DSC_HIP_FIND)
#undef DSC_HIP_FIND
#undef DSC_HIP_TEXT
  if (!missing) return &bound;
  dlclose(library);
  reason = std::string("this system's libamdhip64.so has no ") + missing + ": " + kAdvice;
  return nullptr;
}

}  // namespace

const Api *find_api(std::string &reason) {
  static std::atomic<const Api *> found{nullptr};
  if (const Api *known = found.load(std::memory_order_acquire)) return known;
  static std::mutex one_at_a_time;
  std::lock_guard<std::mutex> lock(one_at_a_time);
  void *library = open_library();
  if (!library) {
    const char *said = dlerror();
    reason = std::string("no libamdhip64.so: ") + kAdvice + (said ? std::string(" (") + said + ")" : "");
    return nullptr;
  }
  const Api *made = bind(library, reason);
  found.store(made, std::memory_order_release);
  return made;
}

const Api &api() {
  std::string reason;
  const Api *found = find_api(reason);
  if (!found) TVM_FFI_THROW(RuntimeError) << reason;
  return *found;
}

void check(hipError_t result, const std::string &call) {
  if (result == hipSuccess) return;
  const std::string said = "HIP: " + call + ": " + api().hipGetErrorString(result);
  if (result == hipErrorOutOfMemory) TVM_FFI_THROW(MemoryError) << said;
  TVM_FFI_THROW(RuntimeError) << said;
}

}  // namespace dsc::hip
