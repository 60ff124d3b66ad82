#include "launch.h"

#include <tvm/ffi/extra/c_env_api.h>

#include <array>

namespace dsc::hip {

namespace {

constexpr size_t kLaunchNumbers = 7;
using LaunchNumbers = std::array<int64_t, kLaunchNumbers>;

// An argument as the kernel has it: integers and addresses are the first bytes of TVM's.
enum class Passing { kAsItIs, kFloat };

Passing passing(const Signature &signature, DLDataType type) {
  bool is_integer = type.code == kDLInt || type.code == kDLUInt || type.code == kDLBool;
  if (type.lanes == 1 && (is_integer || type.code == kDLOpaqueHandle)) return Passing::kAsItIs;
  if (type.lanes == 1 && type.code == kDLFloat && type.bits == 64) return Passing::kAsItIs;
  if (type.lanes == 1 && type.code == kDLFloat && type.bits == 32) return Passing::kFloat;
  TVM_FFI_THROW(ValueError) << "kernel " << signature.kernel << " takes an argument of a type that cannot be passed";
  TVM_FFI_UNREACHABLE();
}

class Launcher {
 public:
  Launcher(std::shared_ptr<Code> code, const Signature &signature) : code_(std::move(code)), signature_(signature) {
    for (DLDataType type : signature_.arguments) passing_.push_back(passing(signature, type));
  }

  void operator()(tvm::ffi::PackedArgs given, tvm::ffi::Any *) const {
    const size_t count = passing_.size();
    if (static_cast<size_t>(given.size()) != count + signature_.launch.size())
      TVM_FFI_THROW(TypeError) << "kernel " << signature_.kernel << " takes " << count << " arguments and "
                               << signature_.launch.size() << " numbers of its launch, there are " << given.size();
    auto values = reinterpret_cast<const TVMFFIAny *>(given.data());
    std::vector<float> floats(count);
    std::vector<void *> addresses(count);
    for (size_t i = 0; i < count; ++i) {
      floats[i] = passing_[i] == Passing::kFloat ? static_cast<float>(values[i].v_float64) : 0.0f;
      const void *place = passing_[i] == Passing::kFloat ? static_cast<const void *>(&floats[i]) : &values[i].v_int64;
      addresses[i] = const_cast<void *>(place);  // HIP's interface has no `const`; it reads
    }
    launch(numbers(values + count), addresses.data());
  }

 private:
  // Grids of no blocks are launched with one: sizes that are known at run time may be 0, and kernels look at them.
  LaunchNumbers numbers(const TVMFFIAny *values) const {
    LaunchNumbers found{1, 1, 1, 1, 1, 1, 0};
    for (size_t i = 0; i < signature_.launch.size(); ++i)
      if (int64_t value = values[i].v_int64) found[static_cast<size_t>(signature_.launch[i])] = value;
    return found;
  }

  void launch(const LaunchNumbers &numbers, void **arguments) const {
    auto stream = static_cast<hipStream_t>(TVMFFIEnvGetStream(kDLROCM, current_gpu()));
    auto number = [&](LaunchNumber which) { return static_cast<unsigned>(numbers[static_cast<size_t>(which)]); };
    hipError_t result = api().hipModuleLaunchKernel(
        code_->function(signature_.kernel), number(LaunchNumber::kGridX), number(LaunchNumber::kGridY),
        number(LaunchNumber::kGridZ), number(LaunchNumber::kBlockX), number(LaunchNumber::kBlockY),
        number(LaunchNumber::kBlockZ), number(LaunchNumber::kDynamicShared), stream, arguments, nullptr);
    if (result != hipSuccess) check(result, description(numbers));
  }

  std::string description(const LaunchNumbers &numbers) const {
    std::string text = "launching kernel " + signature_.kernel + " with ";
    const char *after[] = {
        " x ", " x ", " blocks of ", " x ", " x ", " threads and ", " bytes of dynamic local memory"};
    for (size_t i = 0; i < numbers.size(); ++i) text += std::to_string(numbers[i]) + after[i];
    return text;
  }

  std::shared_ptr<Code> code_;
  Signature signature_;
  std::vector<Passing> passing_;
};

}  // namespace

tvm::ffi::Function launcher(std::shared_ptr<Code> code, const Signature &signature) {
  return tvm::ffi::Function::FromPacked(Launcher(std::move(code), signature));
}

}  // namespace dsc::hip
