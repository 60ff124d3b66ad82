/* Where kernels run and their tensors are: this processor, or a GPU with memory of its own. */
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "description.h"
#include "tvm.h"

namespace dsc {

class Device {
 public:
  virtual ~Device() = default;

  /* TVM's name for it. */
  virtual DLDevice handle() const = 0;
  /* A tensor that kernels can read: of this memory, which outlives it, or a copy. */
  virtual tvm::Value put(const void *data, DLDataType type, const std::vector<int64_t> &dims) const = 0;
  /* The tensor, or a copy, in memory that the host can read, once the kernels that write it are done. */
  virtual tvm::Value get(tvm::Value tensor) const = 0;
};

/* The device that the code of the bundle in `folder` needs. Throws Failure (DSC_ERROR_UNFIT) where there is none, or
 * another one. */
std::unique_ptr<Device> find_device(const Description &description, const std::string &folder);

}  // namespace dsc
