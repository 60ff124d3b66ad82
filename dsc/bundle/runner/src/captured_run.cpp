#include "captured_run.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "failure.h"

namespace dsc {
namespace {

/* As `dsc.runtime.graphs` has them. */
constexpr const char *CAPTURE = "dsc_capture", *SWITCH = "DSC_GRAPHS";

}  // namespace

bool wants_graphs() {
  const char *value = std::getenv(SWITCH);
  return value == nullptr || std::strcmp(value, "0") != 0;
}

CapturedRun::CapturedRun(const tvm::Value &library, const tvm::Value &machine, const tvm::Value &run)
    : run_(run),
      capture_(tvm::module_function(library, CAPTURE)),
      set_instrument_(tvm::module_function(machine, "set_instrument")) {}

tvm::Value CapturedRun::operator()(const std::vector<TVMFFIAny> &tensors) {
  if (!launch_.is(kTVMFFIFunction) && has_run_ && !is_refused_) capture(tensors);
  if (launch_.is(kTVMFFIFunction)) return tvm::call(launch_, {});
  tvm::Value results = tvm::call(run_, tensors);
  has_run_ = true;
  return results;
}

/* Nothing is lost but time where the driver refuses, so that is no failure; it is told once. */
void CapturedRun::capture(const std::vector<TVMFFIAny> &tensors) {
  std::vector<TVMFFIAny> arguments = {tvm::argument(set_instrument_), tvm::argument(run_)};
  arguments.insert(arguments.end(), tensors.begin(), tensors.end());
  try {
    launch_ = tvm::call(capture_, arguments);
  } catch (const Failure &failure) {
    is_refused_ = true;
    std::fprintf(stderr,
                 "dsc: a run's launches cannot be captured as a graph, kernels are launched one by one: %s "
                 "(%s=0 does so without trying)\n",
                 failure.what(), SWITCH);
  }
}

}  // namespace dsc
