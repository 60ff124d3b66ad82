/* Runs whose launches a GPU gets as one graph, instead of one by one. */
#pragma once

#include <vector>

#include "tvm.h"

namespace dsc {

/* Whether the user has not switched graphs off, by the value 0 of the environment variable DSC_GRAPHS. */
bool wants_graphs();

/* A model's function that is captured when it is called for the second time, and launched as a graph from then on. The
 * first call loads the kernels' code, which is not to be captured. All calls must be given the same tensors, whose
 * elements may change. Used by one thread at a time. */
class CapturedRun {
 public:
  /* Of a virtual machine of the library, which outlives it. */
  CapturedRun(const tvm::Value &library, const tvm::Value &machine, const tvm::Value &run);

  /* What the function gives; the same tensors in all captured runs. */
  tvm::Value operator()(const std::vector<TVMFFIAny> &tensors);

 private:
  void capture(const std::vector<TVMFFIAny> &tensors);

  const tvm::Value &run_;
  tvm::Value capture_, set_instrument_, launch_;
  bool has_run_ = false, is_refused_ = false;
};

}  // namespace dsc
