#include "element_type.h"

#include "dsc.h"

namespace dsc {
namespace {

constexpr DLDataType number(DLDataTypeCode code, uint8_t bits) { return {static_cast<uint8_t>(code), bits, 1}; }

/* A table like that of `dsc.elements`, which a test compares with it. Types that kernels compute in float32 or in
 * bytes are unsigned numbers in memory. */
constexpr ElementType TYPES[] = {
    {DSC_FLOAT32, "float32", number(kDLFloat, 32)},
    {DSC_UINT8, "uint8", number(kDLUInt, 8)},
    {DSC_INT8, "int8", number(kDLInt, 8)},
    {DSC_UINT16, "uint16", number(kDLUInt, 16)},
    {DSC_INT16, "int16", number(kDLInt, 16)},
    {DSC_INT32, "int32", number(kDLInt, 32)},
    {DSC_INT64, "int64", number(kDLInt, 64)},
    {DSC_BOOL, "bool", number(kDLBool, 8)},
    {DSC_FLOAT16, "float16", number(kDLFloat, 16)},
    {DSC_FLOAT64, "float64", number(kDLFloat, 64)},
    {DSC_UINT32, "uint32", number(kDLUInt, 32)},
    {DSC_UINT64, "uint64", number(kDLUInt, 64)},
    {DSC_BFLOAT16, "bfloat16", number(kDLUInt, 16)},
    {DSC_FLOAT8E4M3FN, "float8_e4m3fn", number(kDLUInt, 8)},
    {DSC_FLOAT8E4M3FNUZ, "float8_e4m3fnuz", number(kDLUInt, 8)},
    {DSC_FLOAT8E5M2, "float8_e5m2", number(kDLUInt, 8)},
    {DSC_FLOAT8E5M2FNUZ, "float8_e5m2fnuz", number(kDLUInt, 8)},
    {DSC_UINT4, "uint4", number(kDLUInt, 8)},
    {DSC_INT4, "int4", number(kDLUInt, 8)},
    {DSC_FLOAT4E2M1FN, "float4_e2m1fn", number(kDLUInt, 8)},
    {DSC_FLOAT8E8M0FNU, "float8_e8m0fnu", number(kDLUInt, 8)},
    {DSC_UINT2, "uint2", number(kDLUInt, 8)},
    {DSC_INT2, "int2", number(kDLUInt, 8)},
    {DSC_FLOAT6E2M3FN, "float6_e2m3fn", number(kDLUInt, 8)},
    {DSC_FLOAT6E3M2FN, "float6_e3m2fn", number(kDLUInt, 8)},
};

}  // namespace

const ElementType *element_type(int32_t code) {
  for (const ElementType &type : TYPES) {
    if (type.code == code) return &type;
  }
  return nullptr;
}

const ElementType *element_type(const std::string &name) {
  for (const ElementType &type : TYPES) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

bool same(DLDataType one, DLDataType other) {
  return one.code == other.code && one.bits == other.bits && one.lanes == other.lanes;
}

}  // namespace dsc
