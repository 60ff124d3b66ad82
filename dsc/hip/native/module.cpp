#include "module.h"

#include <memory>
#include <stdexcept>

#include "launch.h"

namespace dsc::hip {

namespace {

class Module final : public tvm::ffi::ModuleObj {
 public:
  explicit Module(std::shared_ptr<Code> code) : code_(std::move(code)) {}

  const char *kind() const final { return "hip"; }
  int GetPropertyMask() const final { return tvm::ffi::Module::kRunnable; }

  tvm::ffi::Optional<tvm::ffi::Function> GetFunction(const tvm::ffi::String &name) final {
    for (const Signature &signature : code_->kernels())
      if (name == signature.kernel) return launcher(code_, signature);
    return std::nullopt;
  }

 private:
  std::shared_ptr<Code> code_;
};

ModuleBytes parsed(const tvm::ffi::Bytes &bytes) try {
  return parse({bytes.data(), bytes.size()});
} catch (const std::invalid_argument &error) {
  TVM_FFI_THROW(ValueError) << "this is no module of ROCm: " << error.what();
  TVM_FFI_UNREACHABLE();
}

}  // namespace

tvm::ffi::Module load_module(const tvm::ffi::Bytes &bytes) {
  auto code = std::make_shared<Code>(parsed(bytes));
  code->load();
  return tvm::ffi::Module(tvm::ffi::make_object<Module>(std::move(code)));
}

}  // namespace dsc::hip
