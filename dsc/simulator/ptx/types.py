"""PTX's types as C++ types."""

from __future__ import annotations

_HALF, _BFLOAT = "simulator::HalfFormat", "simulator::BfloatFormat"
CPP = {
    "pred": "bool",
    "b8": "uint8_t",
    "u8": "uint8_t",
    "s8": "int8_t",
    "b16": "uint16_t",
    "u16": "uint16_t",
    "s16": "int16_t",
    "b32": "uint32_t",
    "u32": "uint32_t",
    "s32": "int32_t",
    "b64": "uint64_t",
    "u64": "uint64_t",
    "s64": "int64_t",
    "f32": "float",
    "f64": "double",
    "f16": f"simulator::Narrow<{_HALF}>",
    "bf16": f"simulator::Narrow<{_BFLOAT}>",
    "f16x2": f"simulator::NarrowPair<{_HALF}>",
    "bf16x2": f"simulator::NarrowPair<{_BFLOAT}>",
}
"""As an instruction computes with it."""

REGISTERS = {
    **{name: cpp for name, cpp in CPP.items() if name[0] in "pbus" and not name.startswith("bf")},
    "f32": "float",
    "f64": "double",
    "f16": "uint16_t",
    "bf16": "uint16_t",
    "f16x2": "uint32_t",
    "bf16x2": "uint32_t",
}
"""As a register that is declared with it holds it."""

CONSTRAINTS = {
    "h": "uint16_t",
    "r": "uint32_t",
    "l": "uint64_t",
    "f": "float",
    "d": "double",
    "n": "int64_t",
}
"""As an operand of inline assembly is bound."""
