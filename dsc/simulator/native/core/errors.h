// The numbers of cudaError, CUresult and hipError_t that the stand-ins return (they are the same), and what is said of
// them.
#pragma once

namespace simulator {

enum Error {
  kSuccess = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kNoDevice = 100,
  kInvalidDevice = 101,
  kInvalidImage = 200,
  kInvalidHandle = 400,
  kIllegalState = 401,
  kNotFound = 500,
  kLaunchFailed = 719,
  kNotSupported = 801,
  kCaptureUnsupported = 900,
  kCaptureInvalidated = 901,
  kCaptureImplicit = 906,
  kCaptureWrongThread = 908,
};

constexpr char kCudaName[] = "dsc's simulator of CUDA";
constexpr char kHipName[] = "dsc's simulator of ROCm";

// Of a launch that failed, the fault itself; of an image that cannot be loaded, why.
const char *error_name(int error);
void set_image_error(const char *reason);

}  // namespace simulator
