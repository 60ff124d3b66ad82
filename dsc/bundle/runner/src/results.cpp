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
const DLTensor &checked(const TensorSpec &spec, const TVMFFIAny &result) {
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
  if (!fits) throw Failure(DSC_ERROR_DAMAGED, "the bundle's code gives other outputs than its description says; make it again");
  return tensor;
}

void check_given(const TensorSpec &spec, const DLTensor &tensor, const dsc_tensor &given) {
  if (!std::equal(tensor.shape, tensor.shape + tensor.ndim, given.dims)) {
    const size_t rank = spec.dims.size();
    throw Failure(DSC_ERROR_OUTPUT, "output " + spec.text() + " has dims " + dims_text(tensor.shape, rank) +
                                        " here, was given memory for dims " + dims_text(given.dims, rank));
  }
}

}  // namespace

void hand_out(const Description &description, const tvm::Value &results, dsc_tensor *outputs) {
  const std::vector<TVMFFIAny> found = tvm::items(results);
  const size_t count = description.outputs.size();
  if (found.size() != count + (description.index_checks.empty() ? 0 : 1)) {
    throw Failure(DSC_ERROR_DAMAGED, "the bundle's code gives another number of outputs than its description says; make it again");
  }
  std::vector<const DLTensor *> tensors;
  std::vector<size_t> sizes;
  std::vector<std::unique_ptr<void, Free>> made(count);
  for (size_t i = 0; i < count; ++i) {
    const TensorSpec &spec = description.outputs[i];
    tensors.push_back(&checked(spec, found[i]));
    sizes.push_back(byte_size("output " + spec.text(), spec.type->size(), tensors[i]->shape, spec.dims.size(), DSC_ERROR_DAMAGED));
    if (outputs[i].data != nullptr) {
      check_given(spec, *tensors[i], outputs[i]);
    } else {
      // at least one piece: memory of no bytes may be NULL, which means something else
      made[i].reset(std::aligned_alloc(ALIGNMENT, (sizes[i] / ALIGNMENT + 1) * ALIGNMENT));
      if (made[i] == nullptr) throw std::bad_alloc();
    }
  }
  for (size_t i = 0; i < count; ++i) {  // nothing fails from here on
    if (made[i] != nullptr) {
      outputs[i] = {made[i].release(), description.outputs[i].type->code, tensors[i]->ndim, {}};
      std::copy_n(tensors[i]->shape, tensors[i]->ndim, outputs[i].dims);
    }
    if (sizes[i] != 0) std::memcpy(outputs[i].data, static_cast<const char *>(tensors[i]->data) + tensors[i]->byte_offset, sizes[i]);
  }
}

}  // namespace dsc
