#include "tvm.h"

#include <memory>
#include <utility>

#include "failure.h"

namespace dsc::tvm {
namespace {

TVMFFIAny owned(int32_t type_index, TVMFFIObjectHandle object) {
  TVMFFIAny any{};
  any.type_index = type_index;
  any.v_obj = static_cast<TVMFFIObject *>(object);
  return any;
}

/* What the last call that failed says. */
[[noreturn]] void raise() {
  TVMFFIObjectHandle error = nullptr;
  TVMFFIErrorMoveFromRaised(&error);
  if (error == nullptr) throw Failure(DSC_ERROR_INTERNAL, "the runtime failed without saying why");
  const Value keep(owned(kTVMFFIError, error));
  const TVMFFIErrorCell &cell = *TVMFFIErrorGetCellPtr(error);
  const std::string kind(cell.kind.data, cell.kind.size), said(cell.message.data, cell.message.size);
  if (kind == "MemoryError") throw Failure(DSC_ERROR_MEMORY, "not enough memory: " + said);
  if (said.find("bad_alloc") != std::string::npos) {
    throw Failure(DSC_ERROR_MEMORY, "not enough memory for what is computed of inputs of these sizes");
  }
  throw Failure(DSC_ERROR_INTERNAL, kind + ": " + said);
}

void check(int code) {
  if (code != 0) raise();
}

const void *behind_header(const Value &object) {
  return reinterpret_cast<const char *>(object.any().v_obj) + sizeof(TVMFFIObject);
}

/* Of all elements. */
size_t byte_size(const Value &tensor) {
  const DLTensor &described = as_tensor(tensor);
  size_t count = 1;
  for (int axis = 0; axis < described.ndim; ++axis) count *= static_cast<size_t>(described.shape[axis]);
  return (count * described.dtype.bits * described.dtype.lanes + 7) / 8;
}

/* Memory to point at where a tensor has no elements. */
alignas(64) char nothing[64];

/* A description of memory that TVM holds as long as the tensor. */
struct Borrowed {
  DLManagedTensor managed{};
  std::vector<int64_t> dims;

  static void release(DLManagedTensor *managed) { delete static_cast<Borrowed *>(managed->manager_ctx); }
};

}  // namespace

Value::Value(Value &&other) noexcept : any_(std::exchange(other.any_, TVMFFIAny{})) {}

Value &Value::operator=(Value &&other) noexcept {
  std::swap(any_, other.any_);
  return *this;
}

Value::~Value() {
  if (any_.type_index >= kTVMFFIStaticObjectBegin) TVMFFIObjectDecRef(any_.v_obj);
}

TVMFFIAny argument(int64_t number) {
  TVMFFIAny any{};
  any.type_index = kTVMFFIInt;
  any.v_int64 = number;
  return any;
}

TVMFFIAny argument(bool truth) {
  TVMFFIAny any = argument(int64_t{truth});
  any.type_index = kTVMFFIBool;
  return any;
}

TVMFFIAny argument(void *address) {
  TVMFFIAny any{};
  any.type_index = kTVMFFIOpaquePtr;
  any.v_ptr = address;
  return any;
}

TVMFFIAny argument(const char *text) {
  TVMFFIAny any{};
  any.type_index = kTVMFFIRawStr;
  any.v_c_str = text;
  return any;
}

Value call(const Value &function, const std::vector<TVMFFIAny> &arguments) {
  TVMFFIAny result{};
  // the interface takes arguments that it does not change without `const`
  TVMFFIAny *first = const_cast<TVMFFIAny *>(arguments.data());
  check(TVMFFIFunctionCall(function.any().v_obj, first, static_cast<int32_t>(arguments.size()), &result));
  return Value(result);
}

Value global_function(const char *name) {
  const TVMFFIByteArray bytes{name, std::char_traits<char>::length(name)};
  TVMFFIObjectHandle found = nullptr;
  check(TVMFFIFunctionGetGlobal(&bytes, &found));
  if (found == nullptr) throw Failure(DSC_ERROR_UNFIT, std::string("the runtime beside the bundle has no ") + name);
  return Value(owned(kTVMFFIFunction, found));
}

Value find_function(const Value &module, const char *name) {
  return call(global_function("ffi.ModuleGetFunction"), {argument(module), argument(name), argument(true)});
}

Value module_function(const Value &module, const char *name) {
  Value found = find_function(module, name);
  if (!found.is(kTVMFFIFunction)) throw Failure(DSC_ERROR_DAMAGED, std::string("the bundle's code has no ") + name);
  return found;
}

Value tensor(const void *data, DLDataType type, const std::vector<int64_t> &dims) {
  auto borrowed = std::make_unique<Borrowed>();
  borrowed->dims = dims;
  DLTensor &described = borrowed->managed.dl_tensor;
  described.data = data == nullptr ? nothing : const_cast<void *>(data);  // kernels do not write to it
  described.device = {kDLCPU, 0};
  described.dtype = type;
  described.ndim = static_cast<int32_t>(dims.size());
  described.shape = borrowed->dims.data();
  borrowed->managed.manager_ctx = borrowed.get();
  borrowed->managed.deleter = Borrowed::release;
  TVMFFIObjectHandle made = nullptr;
  check(TVMFFITensorFromDLPack(&borrowed->managed, 0, 1, &made));
  borrowed.release();  // the tensor's now
  return Value(owned(kTVMFFITensor, made));
}

const DLTensor &as_tensor(const Value &value) {
  if (!value.is(kTVMFFITensor)) throw Failure(DSC_ERROR_DAMAGED, "the bundle's code gives something that is no tensor");
  return *TVMFFITensorGetDLTensorPtr(value.any().v_obj);
}

Value empty(DLDataType type, const std::vector<int64_t> &dims, DLDevice device) {
  std::vector<TVMFFIAny> numbers;
  for (int64_t dim : dims) numbers.push_back(argument(dim));
  const Value shape = call(global_function("ffi.Shape"), numbers);
  TVMFFIAny type_argument{}, device_argument{}, scope{};
  type_argument.type_index = kTVMFFIDataType;
  type_argument.v_dtype = type;
  device_argument.type_index = kTVMFFIDevice;
  device_argument.v_device = device;
  const Value allocate = global_function("runtime.TVMTensorAllocWithScope");
  return call(allocate, {argument(shape), type_argument, device_argument, scope});
}

void copy_from(const Value &tensor, const void *data) {
  const size_t size = byte_size(tensor);
  if (size == 0) return;
  const Value copy = global_function("runtime.TVMTensorCopyFromBytes");
  call(copy, {argument(tensor), argument(const_cast<void *>(data)), argument(static_cast<int64_t>(size))});
}

void copy_to(const Value &tensor, void *data) {
  const size_t size = byte_size(tensor);
  if (size == 0) return;
  const Value copy = global_function("runtime.TVMTensorCopyToBytes");
  call(copy, {argument(tensor), argument(data), argument(static_cast<int64_t>(size))});
}

std::vector<Value> items(const Value &array) {
  if (!array.is(kTVMFFIArray)) throw Failure(DSC_ERROR_DAMAGED, "the bundle's code gives something that is no tuple");
  const auto *cell = static_cast<const TVMFFISeqCell *>(behind_header(array));
  const auto *first = static_cast<const TVMFFIAny *>(cell->data);
  std::vector<Value> values;
  for (const TVMFFIAny *item = first; item != first + cell->size; ++item) {
    if (item->type_index >= kTVMFFIStaticObjectBegin) TVMFFIObjectIncRef(item->v_obj);
    values.emplace_back(*item);
  }
  return values;
}

std::string text(const Value &string) {
  if (string.is(kTVMFFISmallStr)) return {string.any().v_bytes, string.any().small_str_len};
  if (!string.is(kTVMFFIStr)) return "";
  const auto *bytes = static_cast<const TVMFFIByteArray *>(behind_header(string));
  return {bytes->data, bytes->size};
}

}  // namespace dsc::tvm
