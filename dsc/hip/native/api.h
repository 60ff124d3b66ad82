// HIP's functions, found in libamdhip64 when the first of them is called: a host without it is told what to install.
#pragma once
#define __HIP_DISABLE_CPP_FUNCTIONS__  // templates of the same names, of which there is no one type
#include <hip/hip_runtime_api.h>

#include <string>

namespace dsc::hip {

// Headers since ROCm 6 replace names of functions whose structures have changed (hipGetDeviceProperties becomes
// hipGetDevicePropertiesR0600). Such a name is replaced here too, so a function and its structures belong together.
// clang-format off
#define DSC_HIP_FUNCTIONS(each) \
  each(hipGetErrorString)       \
  each(hipGetDeviceCount)       \
  each(hipGetDevice)            \
  each(hipSetDevice)            \
  each(hipGetDeviceProperties)  \
  each(hipMemGetInfo)           \
  each(hipMalloc)               \
  each(hipFree)                 \
  each(hipMemcpy)               \
  each(hipMemcpyAsync)          \
  each(hipMemcpyPeerAsync)      \
  each(hipStreamCreate)         \
  each(hipStreamDestroy)        \
  each(hipStreamSynchronize)    \
  each(hipStreamWaitEvent)      \
  each(hipEventCreateWithFlags) \
  each(hipEventRecord)          \
  each(hipEventDestroy)         \
  each(hipModuleLoadData)       \
  each(hipModuleUnload)         \
  each(hipModuleGetFunction)    \
  each(hipModuleLaunchKernel)
// clang-format on

struct Api {
#define DSC_HIP_MEMBER(name) decltype(&::name) name;
  DSC_HIP_FUNCTIONS(DSC_HIP_MEMBER)
#undef DSC_HIP_MEMBER
};

// Null, and why, where the library cannot be used. It is looked for again at the next call.
const Api *find_api(std::string &reason);

// Throws an error of TVM's where the library cannot be used.
const Api &api();

// Throws an error of TVM's, with HIP's words, where `result` is one: a MemoryError where memory is short. `call` says
// what was done to what.
void check(hipError_t result, const std::string &call);

}  // namespace dsc::hip
