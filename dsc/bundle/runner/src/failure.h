/* Errors: thrown within the library, a code and a message outside of it. */
#pragma once

#include <new>
#include <stdexcept>
#include <string>

#include "dsc.h"

namespace dsc {

/* What a call of the interface fails with. */
class Failure : public std::runtime_error {
 public:
  Failure(dsc_status status, const std::string &message) : std::runtime_error(message), status_(status) {}
  dsc_status status() const { return status_; }

 private:
  dsc_status status_;
};

/* Keep the message for `dsc_error`; returns the code. */
dsc_status failed(dsc_status status, const char *message) noexcept;

/* The message of the last failure in this thread. */
const char *last_message() noexcept;

/* Run `body`, so that nothing is thrown into C. */
template <typename Body>
dsc_status guarded(Body &&body) noexcept {
  try {
    body();
    return DSC_OK;
  } catch (const Failure &failure) {
    return failed(failure.status(), failure.what());
  } catch (const std::bad_alloc &) {
    return failed(DSC_ERROR_MEMORY, "not enough memory");
  } catch (const std::exception &error) {
    return failed(DSC_ERROR_INTERNAL, error.what());
  } catch (...) {
    return failed(DSC_ERROR_INTERNAL, "an exception of unknown type");
  }
}

}  // namespace dsc
