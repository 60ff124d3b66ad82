"""cvt and cvta: between types, and between addresses."""

from __future__ import annotations

import re

from dsc.simulator.ptx.rules import Rendered, Rule, put, rule, single, take
from dsc.simulator.ptx.types import CPP

_INTEGER = r"[us](?:8|16|32|64)"
_ROUNDING = {"rni": "nearbyint", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}


def _cast(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, value = map(single, operands)
    target, source = CPP[match["to"]], CPP[match["of"]]
    return put(target, to, f"static_cast<{target}>({take(source, value)})")


def _to_integer(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, value = map(single, operands)
    target = CPP[match["to"]]
    rounded = f"{_ROUNDING[match['how']]}(static_cast<double>({take(CPP[match['of']], value)}))"
    return put(target, to, f"simulator_saturated<{target}>({rounded})")


def _relu(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, value = map(single, operands)
    target = CPP[match["to"]]
    return put(target, to, f"static_cast<{target}>(simulator_ptx::maximum({take('float', value)}, 0.0f))")


def _pair(match: re.Match[str], operands: list[Rendered]) -> str | None:
    """The first source becomes the upper half."""
    to, upper, lower = map(single, operands)
    target, element = CPP[match["to"] + "x2"], CPP[match["to"]]
    parts = ", ".join(f"{element}({take('float', value)})" for value in (lower, upper))
    return put(target, to, f"{target}({parts})")


def _tf32(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, value = map(single, operands)
    return put("uint32_t", to, f"simulator_ptx::{match['how']}_tf32({take('uint32_t', value)})")


def _to_shared(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, value = map(single, operands)
    return put(CPP[match["type"]], to, f"simulator_shared_address(simulator_ptx::generic({value}))")


def _from_shared(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, value = map(single, operands)
    pointer = f"simulator_shared_pointer(static_cast<uint32_t>({value}))"
    return put("uint64_t", to, f"reinterpret_cast<uint64_t>({pointer})")


def _same_address(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, value = map(single, operands)
    return put("uint64_t", to, take("uint64_t", value))


RULES: tuple[Rule, ...] = (
    rule(rf"cvt\.(?P<to>{_INTEGER})\.(?P<of>{_INTEGER})", _cast),
    rule(rf"cvt\.rn\.(?P<to>f16|bf16|f32|f64)\.(?P<of>{_INTEGER})", _cast),
    rule(rf"cvt\.(?P<how>{'|'.join(_ROUNDING)})(?:\.ftz)?\.(?P<to>{_INTEGER})\.(?P<of>f16|bf16|f32|f64)", _to_integer),
    rule(r"cvt(?:\.rn)?(?:\.ftz)?\.(?P<to>f16|bf16|f32|f64)\.(?P<of>f16|bf16|f32|f64)", _cast),
    rule(r"cvt\.rn\.relu\.(?P<to>f16|bf16)\.f32", _relu),
    rule(r"cvt\.rn\.(?P<to>f16|bf16)x2\.f32", _pair),
    rule(r"cvt\.(?P<how>rna|rn|rz)\.tf32\.f32", _tf32),
    rule(r"cvta\.to\.shared\.(?P<type>u32|u64)", _to_shared),
    rule(r"cvta\.shared\.u64", _from_shared),
    rule(r"cvta(?:\.to)?\.global\.u64", _same_address),
)
