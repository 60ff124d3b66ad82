/* TVM's runtime, through the C interface of tvm-ffi, whose ABI does not depend on compilers. */
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tvm/ffi/c_api.h"

namespace dsc::tvm {

/* A value of TVM's that is owned: nothing, a number, or one reference to an object. */
class Value {
 public:
  Value() : any_{} {}
  /* Takes over the reference that `any` holds. */
  explicit Value(const TVMFFIAny &any) : any_(any) {}
  Value(Value &&other) noexcept;
  Value &operator=(Value &&other) noexcept;
  ~Value();

  bool is(int32_t type_index) const { return any_.type_index == type_index; }
  const TVMFFIAny &any() const { return any_; }

 private:
  TVMFFIAny any_;
};

/* Arguments of calls, which are not owned. */
TVMFFIAny argument(int64_t number);
TVMFFIAny argument(bool truth);
TVMFFIAny argument(const char *text);
TVMFFIAny argument(void *address);
inline const TVMFFIAny &argument(const Value &value) { return value.any(); }

/* Call a function. Throws Failure with what it says: DSC_ERROR_MEMORY where a tensor cannot be allocated, else
 * DSC_ERROR_INTERNAL. */
Value call(const Value &function, const std::vector<TVMFFIAny> &arguments);

/* A function of the runtime by its name, or of a module and what it imports. Throws Failure if there is none. */
Value global_function(const char *name);
Value module_function(const Value &module, const char *name);
/* The same, but nothing where the module has no such function. */
Value find_function(const Value &module, const char *name);

/* A tensor in memory that outlives it. `data` may be NULL where there are no elements. */
Value tensor(const void *data, DLDataType type, const std::vector<int64_t> &dims);
const DLTensor &as_tensor(const Value &value);

/* A tensor in memory of a device that it owns. */
Value empty(DLDataType type, const std::vector<int64_t> &dims, DLDevice device);
/* Between the elements of a tensor of any device, contiguous as those of `empty`, and the host's memory; `copy_to` once
 * the kernels that write them are done. */
void copy_from(const Value &tensor, const void *data);
void copy_to(const Value &tensor, void *data);

/* The items of an array. Throws Failure if it is none. */
std::vector<Value> items(const Value &array);

/* What a string says; nothing where it is none. */
std::string text(const Value &string);

}  // namespace dsc::tvm
