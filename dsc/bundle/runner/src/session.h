/* Runs of a model: one virtual machine for each that is in flight. */
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "captured_run.h"
#include "description.h"
#include "device.h"
#include "dsc.h"
#include "tvm.h"

namespace dsc {

/* A virtual machine with the weights bound. Used by one thread at a time. */
class Session {
 public:
  Session(const Description &description, const Device &device, const tvm::Value &library,
          const std::vector<tvm::Value> &weights);

  /* Compute the outputs of inputs that fit: tensors that the host can read, which may share memory with them.
   * Throws Failure (DSC_ERROR_INPUT) where sizes do not fit what is computed of them, or an index is outside. */
  std::vector<tvm::Value> run(const dsc_tensor *inputs);

 private:
  void check_sizes(const dsc_tensor *inputs);
  void check_indices(const tvm::Value &found) const;
  /* What the kernels compute of them. */
  tvm::Value compute(const dsc_tensor *inputs);
  tvm::Value compute_captured(const dsc_tensor *inputs);

  const Description &description_;
  const Device &device_;
  tvm::Value machine_, main_, sizes_;
  std::unique_ptr<CapturedRun> captured_; /* null where kernels are launched one by one */
  std::vector<tvm::Value> tensors_;       /* the inputs of captured runs */
};

/* Sessions that wait for their next run; as many as there were runs at once. Any thread may use it. */
class SessionPool {
 public:
  /* All of these must outlive it. */
  SessionPool(const Description &description, const Device &device, const tvm::Value &library,
              std::vector<tvm::Value> weights);

  std::unique_ptr<Session> take();
  /* One whose run was not cut short by a fault. */
  void give_back(std::unique_ptr<Session> session);

 private:
  const Description &description_;
  const Device &device_;
  const tvm::Value &library_;
  std::vector<tvm::Value> weights_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Session>> idle_;
};

}  // namespace dsc
