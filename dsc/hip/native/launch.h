// Launches of kernels, as code that TVM generates asks for them.
#pragma once
#include <tvm/ffi/function.h>

#include <memory>

#include "code.h"

namespace dsc::hip {

// A function that takes a kernel's arguments, and after them the numbers of its launch, and launches it on the current
// GPU and the stream that TVM has for it. Throws an error of TVM's for arguments of types that kernels cannot have.
tvm::ffi::Function launcher(std::shared_ptr<Code> code, const Signature &signature);

}  // namespace dsc::hip
