// Modules of TVM's whose functions launch kernels.
#pragma once
#include <tvm/ffi/extra/module.h>

namespace dsc::hip {

// The module that TVM serialized, with its code loaded on the current GPU. Throws an error of TVM's for other bytes,
// for code that HIP refuses, and where a kernel is not in it.
tvm::ffi::Module load_module(const tvm::ffi::Bytes &bytes);

}  // namespace dsc::hip
