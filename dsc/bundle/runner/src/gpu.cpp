#include "gpu.h"

#include <dlfcn.h>

#include <cstdio>

#include "failure.h"

namespace dsc {
namespace {

/* Attributes of devices, as TVM numbers them (DeviceAttrKind). */
constexpr int64_t EXISTS = 0, COMPUTE_VERSION = 4;

/* By the name that programs of one process have it, else the bundle's: two bundles share it. */
void load(const std::string &folder, const char *name, const std::string &needed) {
  if (dlopen(name, RTLD_NOW | RTLD_NOLOAD) != nullptr) return;
  if (dlopen((folder + "/" + name).c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr)
    throw Failure(DSC_ERROR_UNFIT, needed + "; what drives it cannot be loaded: " + dlerror());
}

/* Code objects are for one instruction set. */
void check_rocm(const std::string &arch, const std::string &needed) {
  const tvm::Value first = tvm::call(tvm::global_function("dsc.hip.problem"), {tvm::argument(int64_t{0})});
  if (const std::string problem = tvm::text(first); !problem.empty())
    throw Failure(DSC_ERROR_UNFIT, needed + "; " + problem);
  const tvm::Value found = tvm::call(tvm::global_function("dsc.hip.architecture"), {tvm::argument(int64_t{0})});
  const std::string name = tvm::text(found), set = name.substr(0, name.find(':'));
  if (set != arch)
    throw Failure(DSC_ERROR_UNFIT,
                  needed + "; the GPU here is " + set + ": compile the model with --target rocm:" + set);
}

tvm::Value cuda_attribute(int64_t kind) {
  return tvm::call(tvm::global_function("runtime.GetDeviceAttr"),
                   {tvm::argument(int64_t{kDLCUDA}), tvm::argument(int64_t{0}), tvm::argument(kind)});
}

/* Code for 8.0 ("sm_80") runs on 8.x, and on what comes later once the driver has compiled its PTX; code for 9.0 with
 * its own instructions ("sm_90a") nowhere else. */
void check_cuda(const std::string &arch, const std::string &needed) {
  if (cuda_attribute(EXISTS).any().v_int64 == 0)
    throw Failure(DSC_ERROR_UNFIT, needed + "; there is none here. See what nvidia-smi says");
  const std::string version = tvm::text(cuda_attribute(COMPUTE_VERSION));
  int major = 0, minor = 0, wanted = 0;
  const bool is_known =
      std::sscanf(version.c_str(), "%d.%d", &major, &minor) == 2 && std::sscanf(arch.c_str(), "sm_%d", &wanted) == 1;
  const bool is_only = !arch.empty() && arch.back() == 'a';
  const int found = major * 10 + minor;
  if (!is_known || found < wanted || (is_only && found != wanted))
    throw Failure(DSC_ERROR_UNFIT, needed + (is_only ? ", no other" : " or later") + "; the GPU here has capability " +
                                       version + ": compile the model with --target cuda for it");
}

struct Kind {
  const char *name;
  DLDeviceType type;
  const char *library;
  void (*check)(const std::string &arch, const std::string &needed);
};

constexpr Kind KINDS[] = {
    {"rocm", kDLROCM, "libdsc_hip.so", check_rocm},
    {"cuda", kDLCUDA, "libtvm_runtime_cuda.so", check_cuda},
};

}  // namespace

DLDevice find_gpu(const Description &description, const std::string &folder) {
  const GpuNeed &gpu = description.gpu;
  for (const Kind &kind : KINDS) {
    if (gpu.device != kind.name) continue;
    const std::string needed = "the bundle was made for " + description.target + " and needs a GPU of type " + gpu.arch;
    load(folder, kind.library, needed);
    kind.check(gpu.arch, needed);
    return {kind.type, 0};
  }
  throw Failure(DSC_ERROR_UNFIT, "the bundle runs on a device '" + gpu.device + "', which this library does not know");
}

}  // namespace dsc
