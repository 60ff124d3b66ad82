#include "errors.h"

#include <string>

#include "fault.h"

namespace simulator {

namespace {
thread_local std::string last_text;
thread_local std::string image_error;
}  // namespace

void set_image_error(const char *reason) { image_error = reason; }

const char *error_name(int error) {
  switch (error) {
    case kSuccess:
      return "no error";
    case kInvalidValue:
      return "an invalid value or address";
    case kOutOfMemory:
      return "out of memory";
    case kNoDevice:
    case kInvalidDevice:
      return "no simulation is active";
    case kInvalidImage:
      return image_error.c_str();
    case kInvalidHandle:
      return "an invalid stream";
    case kIllegalState:
      return "the stream is captured already, or is not";
    case kCaptureUnsupported:
      return "this is not permitted while a stream is captured";
    case kCaptureInvalidated:
      return "the capture has failed, as something was not permitted before";
    case kCaptureImplicit:
      return "the legacy stream would have to wait for a stream that is captured";
    case kCaptureWrongThread:
      return "another thread began the capture";
    case kNotFound:
      return "there is no such kernel";
    case kNotSupported:
      return "dsc's simulator does not do this";
    case kLaunchFailed: {
      std::vector<Fault> faults = Faults::instance().all();
      last_text = faults.empty() ? "a kernel failed" : describe(faults.back());
      return last_text.c_str();
    }
  }
  return "unknown error";
}

}  // namespace simulator
