#include "results.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "failure.h"
#include "fit.h"

namespace dsc {
namespace {

constexpr size_t ALIGNMENT = 64;

struct Free {
  void operator()(void *memory) const { std::free(memory); }
};

/* The tensor, once it is known to be what the description says. */
const DLTensor &checked(const TensorSpec &spec, const tvm::Value &result) {
  const DLTensor &tensor = tvm::as_tensor(result);
  bool fits = same(tensor.dtype, spec.type->stored) && static_cast<size_t>(tensor.ndim) == spec.dims.size() &&
              tensor.device.device_type == kDLCPU;
  for (size_t axis = 0; fits && axis < spec.dims.size(); ++axis) {
    fits = spec.dims[axis].size < 0 || tensor.shape[axis] == spec.dims[axis].size;
  }
  int64_t stride = 1;
  for (int axis = tensor.ndim - 1; fits && tensor.strides != nullptr && axis >= 0; --axis) {
    fits = tensor.strides[axis] == stride || tensor.shape[axis] <= 1;
    stride *= tensor.shape[axis];
  }
  if (!fits)
    throw Failure(DSC_ERROR_DAMAGED, "the bundle's code gives other outputs than its description says; make it again");
  return tensor;
}

void check_given(const TensorSpec &spec, const DLTensor &tensor, const dsc_tensor &given) {
  if (!std::equal(tensor.shape, tensor.shape + tensor.ndim, given.dims)) {
    const size_t rank = spec.dims.size();
    throw Failure(DSC_ERROR_OUTPUT, "output " + spec.text() + " has dims " + dims_text(tensor.shape, rank) +
                                        " here, was given memory for dims " + dims_text(given.dims, rank));
  }
}

using Memory = std::unique_ptr<void, Free>;

Memory allocate(size_t size) {
  // at least one piece: memory of no bytes may be NULL, which means something else
  Memory memory(std::aligned_alloc(ALIGNMENT, (size / ALIGNMENT + 1) * ALIGNMENT));
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

/* One result on its way out. */
struct Result {
  const DLTensor *tensor;
  size_t size;      /* bytes */
  const void *from; /* its elements: the tensor's memory, or `aside` */
  Memory aside;
  Memory made; /* for an output that has no memory */
};

bool overlap(const void *one, size_t size, const void *other, size_t other_size) {
  const auto a = reinterpret_cast<uintptr_t>(one), b = reinterpret_cast<uintptr_t>(other);
  return a < b + other_size && b < a + size;
}

/* Keep a result that is an input's memory from being overwritten by an output that was given the same memory. */
void set_aside(std::vector<Result> &results, const dsc_tensor *outputs) {
  for (size_t i = 0; i < results.size(); ++i) {
    for (size_t j = 0; j < results.size(); ++j) {
      if (i == j || results[j].made != nullptr || results[i].aside != nullptr) continue;
      if (!overlap(results[i].from, results[i].size, outputs[j].data, results[j].size)) continue;
      results[i].aside = allocate(results[i].size);
      std::memcpy(results[i].aside.get(), results[i].from, results[i].size);
      results[i].from = results[i].aside.get();
    }
  }
}

}  // namespace

void hand_out(const Description &description, const std::vector<tvm::Value> &results, dsc_tensor *outputs) {
  const size_t count = description.outputs.size();
  if (results.size() != count) {
    throw Failure(DSC_ERROR_DAMAGED,
                  "the bundle's code gives another number of outputs than its description says; make it again");
  }
  std::vector<Result> leaving(count);
  for (size_t i = 0; i < count; ++i) {
    const TensorSpec &spec = description.outputs[i];
    Result &result = leaving[i];
    result.tensor = &checked(spec, results[i]);
    result.size = byte_size("output " + spec.text(), spec.type->size(), result.tensor->shape, spec.dims.size(),
                            DSC_ERROR_DAMAGED);
    result.from = static_cast<const char *>(result.tensor->data) + result.tensor->byte_offset;
    if (outputs[i].data != nullptr) {
      check_given(spec, *result.tensor, outputs[i]);
    } else {
      result.made = allocate(result.size);
    }
  }
  set_aside(leaving, outputs);
  for (size_t i = 0; i < count; ++i) {  // nothing fails from here on
    Result &result = leaving[i];
    if (result.made != nullptr) {
      outputs[i] = {result.made.release(), description.outputs[i].type->code, result.tensor->ndim, {}};
      std::copy_n(result.tensor->shape, result.tensor->ndim, outputs[i].dims);
    }
    if (result.size != 0) std::memmove(outputs[i].data, result.from, result.size);
  }
}

}  // namespace dsc
