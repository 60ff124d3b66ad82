/* The types of elements that tensors may have. */
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "dlpack/dlpack.h"

namespace dsc {

struct ElementType {
  int32_t code;      /* in dsc.h */
  const char *name;  /* as numpy and the description of a bundle have it */
  DLDataType stored; /* what kernels are told that memory holds */

  size_t size() const { return stored.bits / 8; }
};

/* NULL for what is no type. */
const ElementType *element_type(int32_t code);
const ElementType *element_type(const std::string &name);

/* Of what kernels are told: types of one size and interpretation are the same to them. */
bool same(DLDataType one, DLDataType other);

}  // namespace dsc
