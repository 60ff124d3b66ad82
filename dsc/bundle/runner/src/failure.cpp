#include "failure.h"

namespace dsc {
namespace {

thread_local std::string kept;
thread_local const char *message = "";

}  // namespace

dsc_status failed(dsc_status status, const char *text) noexcept {
  try {
    kept = text;
    message = kept.c_str();
  } catch (...) {  // no memory for the text itself
    message = "not enough memory";
  }
  return status;
}

const char *last_message() noexcept { return message; }

}  // namespace dsc
