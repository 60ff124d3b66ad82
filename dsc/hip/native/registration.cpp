// What TVM finds in this library when it is loaded, and what dsc asks it. A TVM that was built with ROCm has functions
// of the same names, which these replace.
#include <tvm/ffi/function.h>

#include "device.h"
#include "module.h"

namespace dsc::hip {

namespace {

template <class Called>
void define(const char *name, Called called) {
  tvm::ffi::Function::SetGlobal(name, tvm::ffi::Function::FromTyped(called), true);
}

struct Registration {
  Registration() {
    define("device_api.rocm", [] { return static_cast<void *>(device_api()); });
    define("ffi.Module.load_from_bytes.hip", load_module);
    define("dsc.hip.problem", [](int device) { return tvm::ffi::String(problem(device)); });
    define("dsc.hip.architecture", [](int device) { return tvm::ffi::String(architecture(device)); });
  }
};

const Registration registration;

}  // namespace

}  // namespace dsc::hip
