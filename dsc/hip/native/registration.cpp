// What TVM finds in this library when it is loaded, and what dsc asks it.
#include <tvm/ffi/reflection/registry.h>

#include "device.h"
#include "module.h"

TVM_FFI_STATIC_INIT_BLOCK() {
  using namespace dsc::hip;
  tvm::ffi::reflection::GlobalDef()
      .def("device_api.rocm", [] { return static_cast<void *>(device_api()); })
      .def("ffi.Module.load_from_bytes.hip", load_module)
      .def("dsc.hip.problem", [](int device) { return tvm::ffi::String(problem(device)); })
      .def("dsc.hip.architecture", [](int device) { return tvm::ffi::String(architecture(device)); });
}
