#include "device.h"

#include <utility>

#include "gpu.h"

namespace dsc {
namespace {

class Host final : public Device {
 public:
  DLDevice handle() const override { return {kDLCPU, 0}; }
  tvm::Value put(const void *data, DLDataType type, const std::vector<int64_t> &dims) const override {
    return tvm::tensor(data, type, dims);
  }
  tvm::Value get(tvm::Value tensor) const override { return tensor; }
};

class SeparateMemory final : public Device {
 public:
  explicit SeparateMemory(DLDevice handle) : handle_(handle) {}

  DLDevice handle() const override { return handle_; }

  tvm::Value put(const void *data, DLDataType type, const std::vector<int64_t> &dims) const override {
    tvm::Value there = tvm::empty(type, dims, handle_);
    tvm::copy_from(there, data);
    return there;
  }

  tvm::Value get(tvm::Value tensor) const override {
    const DLTensor &there = tvm::as_tensor(tensor);
    tvm::Value here = tvm::empty(there.dtype, {there.shape, there.shape + there.ndim}, {kDLCPU, 0});
    tvm::copy_to(tensor, tvm::as_tensor(here).data);
    return here;
  }

 private:
  DLDevice handle_;
};

}  // namespace

std::unique_ptr<Device> find_device(const Description &description, const std::string &folder) {
  if (description.gpu.device.empty()) return std::make_unique<Host>();
  return std::make_unique<SeparateMemory>(find_gpu(description, folder));
}

}  // namespace dsc
