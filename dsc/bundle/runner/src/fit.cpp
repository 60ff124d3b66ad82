#include "fit.h"

#include <algorithm>
#include <map>

#include "failure.h"

namespace dsc {
namespace {

[[noreturn]] void refuse(const std::string &message, dsc_status status = DSC_ERROR_INPUT) {
  throw Failure(status, message);
}

std::string type_text(int32_t code) {
  const ElementType *type = element_type(code);
  return type != nullptr ? type->name : "type " + std::to_string(code) + ", which is none";
}

/* The first input with a dim of that name, and its size there. */
using Sizes = std::map<std::string, std::pair<int64_t, std::string>>;

void check_dim(const TensorSpec &spec, const dsc_tensor &given, size_t axis, Sizes &sizes) {
  const Dim &dim = spec.dims[axis];
  const int64_t size = given.dims[axis];
  const std::string place = "input " + spec.text() + ": dim " + std::to_string(axis);
  if (dim.size >= 0) {
    if (size != dim.size) {
      refuse(place + " must be " + std::to_string(dim.size) + ", was given dims " +
             dims_text(given.dims, spec.dims.size()));
    }
  } else if (!dim.name.empty()) {
    const auto [found, is_first] = sizes.try_emplace(dim.name, size, spec.name);
    const auto &[expected, where] = found->second;
    if (size != expected) {
      refuse(place + ", '" + dim.name + "', is " + std::to_string(size) + " here, but " + std::to_string(expected) +
             " in input " + where);
    }
  }
}

void check_memory(const std::string &what, const ElementType &type, const dsc_tensor &given, dsc_status status) {
  const size_t bytes = byte_size(what, type.size(), given.dims, static_cast<size_t>(given.rank), status);
  if (bytes != 0 && given.data == nullptr) refuse(what + ": data is NULL, and it has elements", DSC_ERROR_ARGUMENT);
  if (reinterpret_cast<uintptr_t>(given.data) % type.size() != 0) {
    refuse(what + ": data is not aligned to its elements, of " + std::to_string(type.size()) + " bytes",
           DSC_ERROR_ARGUMENT);
  }
}

void check_input(const TensorSpec &spec, const dsc_tensor &given, Sizes &sizes) {
  const std::string what = "input " + spec.text();
  if (given.type != spec.type->code) refuse(what + " was given " + type_text(given.type) + "; nothing is cast");
  if (given.rank < 0 || static_cast<size_t>(given.rank) != spec.dims.size()) {
    refuse(what + " needs " + std::to_string(spec.dims.size()) + " dims, was given rank " + std::to_string(given.rank));
  }
  check_memory(what, *spec.type, given, DSC_ERROR_INPUT);
  for (size_t axis = 0; axis < spec.dims.size(); ++axis) check_dim(spec, given, axis, sizes);
}

void check_count(const char *kind, const std::vector<TensorSpec> &specs, const dsc_tensor *given, size_t count) {
  if (count != specs.size()) {
    refuse("the model has " + std::to_string(specs.size()) + " " + kind + "s, was given " + std::to_string(count),
           DSC_ERROR_ARGUMENT);
  }
  if (given == nullptr && count != 0) refuse(std::string("the ") + kind + "s are NULL", DSC_ERROR_ARGUMENT);
}

}  // namespace

void check_inputs(const Description &description, const dsc_tensor *inputs, size_t count) {
  check_count("input", description.inputs, inputs, count);
  Sizes sizes;
  for (size_t i = 0; i < count; ++i) check_input(description.inputs[i], inputs[i], sizes);
}

void check_outputs(const Description &description, const dsc_tensor *outputs, size_t count) {
  check_count("output", description.outputs, outputs, count);
  for (size_t i = 0; i < count; ++i) {
    const TensorSpec &spec = description.outputs[i];
    const std::string what = "output " + spec.text();
    if (outputs[i].data == nullptr) continue;
    if (outputs[i].type != spec.type->code)
      refuse(what + " was given memory for " + type_text(outputs[i].type), DSC_ERROR_OUTPUT);
    if (outputs[i].rank < 0 || static_cast<size_t>(outputs[i].rank) != spec.dims.size()) {
      refuse(what + " has " + std::to_string(spec.dims.size()) + " dims, was given memory of rank " +
                 std::to_string(outputs[i].rank),
             DSC_ERROR_OUTPUT);
    }
    check_memory(what, *spec.type, outputs[i], DSC_ERROR_OUTPUT);
  }
}

size_t byte_size(const std::string &what, size_t element, const int64_t *dims, size_t rank, dsc_status status) {
  const auto bad = std::find_if(dims, dims + rank, [](int64_t dim) { return dim < 0; });
  if (bad != dims + rank)
    refuse(what + ": dim " + std::to_string(bad - dims) + " is negative, " + std::to_string(*bad), status);
  if (std::find(dims, dims + rank, 0) != dims + rank) return 0;
  size_t bytes = element;
  for (size_t axis = 0; axis < rank; ++axis) {
    if (__builtin_mul_overflow(bytes, static_cast<size_t>(dims[axis]), &bytes) || bytes > PTRDIFF_MAX) {
      refuse(what + ": dims " + dims_text(dims, rank) + " are more than memory can hold", status);
    }
  }
  return bytes;
}

std::string dims_text(const int64_t *dims, size_t rank) {
  std::string text = "[";
  for (size_t axis = 0; axis < rank; ++axis) text += (axis == 0 ? "" : ", ") + std::to_string(dims[axis]);
  return text + "]";
}

}  // namespace dsc
