"""Instructions on the registers of one thread."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dsc.simulator.ptx.rules import Emit, Rendered, Rule, members, put, rule, single, take
from dsc.simulator.ptx.types import CPP

_INTEGERS = ("u16", "s16", "u32", "s32", "u64", "s64")
_BITS = ("b16", "b32", "b64", "pred")
_FLOATS = ("f32", "f64")
_HALVES = ("f16", "bf16", "f16x2", "bf16x2")
_NARROW = ("f16", "bf16")

_ROUNDED = r"(?:\.rn)?(?:\.ftz)?"
"""Denormals are kept, as if a device did not flush them."""
_APPROXIMATE = r"(?:\.approx|\.rn)?(?:\.ftz)?"

OPERATIONS: Sequence[tuple[str, str, Sequence[str]]] = (
    ("add" + _ROUNDED, "{a} + {b}", (*_INTEGERS, *_FLOATS, *_HALVES)),
    ("sub" + _ROUNDED, "{a} - {b}", (*_INTEGERS, *_FLOATS, *_HALVES)),
    ("mul" + _ROUNDED, "{a} * {b}", (*_FLOATS, *_HALVES)),
    (r"mul\.lo", "{a} * {b}", _INTEGERS),
    ("fma" + _ROUNDED, "simulator_ptx::fma({a}, {b}, {c})", (*_FLOATS, *_HALVES)),
    (r"mad\.lo", "{a} * {b} + {c}", _INTEGERS),
    (r"div\.rn(?:\.ftz)?|div\.full(?:\.ftz)?|div\.approx(?:\.ftz)?", "{a} / {b}", _FLOATS),
    (r"min(?:\.ftz)?", "simulator_ptx::minimum({a}, {b})", (*_INTEGERS, *_FLOATS, *_NARROW)),
    (r"max(?:\.ftz)?", "simulator_ptx::maximum({a}, {b})", (*_INTEGERS, *_FLOATS, *_NARROW)),
    (r"neg(?:\.ftz)?", "-{a}", ("s16", "s32", "s64", *_FLOATS, *_NARROW)),
    (r"abs(?:\.ftz)?", "simulator_ptx::absolute({a})", ("s16", "s32", "s64", *_FLOATS, *_NARROW)),
    ("and", "{a} & {b}", _BITS),
    ("or", "{a} | {b}", _BITS),
    ("xor", "{a} ^ {b}", _BITS),
    ("not", "~{a}", _BITS[:-1]),
    ("not", "!{a}", _BITS[-1:]),
    ("popc", "__builtin_popcountll({a})", ("b32", "b64")),
    ("clz", "simulator_ptx::leading_zeros({a})", ("b32", "b64")),
    ("brev", "__brev({a})", ("b32",)),
    (f"ex2{_APPROXIMATE}", "exp2f({a})", ("f32", *_NARROW)),
    (f"lg2{_APPROXIMATE}", "log2f({a})", ("f32",)),
    (f"rcp{_APPROXIMATE}", "1.0f / {a}", ("f32",)),
    (f"rsqrt{_APPROXIMATE}", "1.0f / sqrtf({a})", ("f32",)),
    (f"sqrt{_APPROXIMATE}", "sqrtf({a})", ("f32",)),
    (f"sin{_APPROXIMATE}", "sinf({a})", ("f32",)),
    (f"cos{_APPROXIMATE}", "cosf({a})", ("f32",)),
    (f"tanh{_APPROXIMATE}", "tanhf({a})", ("f32", *_NARROW)),
)
"""Pattern of the name, value in terms of operands of the type, types."""

_COMPARISONS = {
    "eq": "{a} == {b}",
    "ne": "{a} != {b}",
    "lt": "{a} < {b}",
    "le": "{a} <= {b}",
    "gt": "{a} > {b}",
    "ge": "{a} >= {b}",
    "lo": "{a} < {b}",
    "ls": "{a} <= {b}",
    "hi": "{a} > {b}",
    "hs": "{a} >= {b}",
}


def _operation(expression: str) -> Emit:
    def emit(match: re.Match[str], operands: list[Rendered]) -> str | None:
        cpp = CPP[match["type"]]
        inputs = dict(zip("abc", (take(cpp, single(operand)) for operand in operands[1:]), strict=False))
        if set(re.findall(r"\{(\w)\}", expression)) != set(inputs):
            return None
        result = "uint32_t" if expression.startswith(("__builtin_popc", "simulator_ptx::leading")) else cpp
        return put(result, single(operands[0]), f"static_cast<{result}>({expression.format(**inputs)})")

    return emit


def _operations() -> list[Rule]:
    return [
        rule(rf"(?:{name})\.(?P<type>{'|'.join(types)})", _operation(expression))
        for name, expression, types in OPERATIONS
    ]


def _shift(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, value, amount = map(single, operands)
    cpp = CPP[match["type"]]
    return put(cpp, to, f"simulator_ptx::{match['way']}({take(cpp, value)}, {take('uint32_t', amount)})")


def _move(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, value = operands
    cpp = CPP[match["type"]]
    if isinstance(to, str) and isinstance(value, str):
        return put(cpp, to, take(cpp, value))
    if isinstance(to, str):
        return f"simulator_ptx::pack({', '.join([to, *members(value)])});"
    if isinstance(value, str):
        return f"simulator_ptx::unpack({', '.join([value, *to])});"
    return None


def _select(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, yes, no, predicate = map(single, operands)
    cpp = CPP[match["type"]]
    return put(cpp, to, f"{predicate} ? {take(cpp, yes)} : {take(cpp, no)}")


def _compare(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, a, b = operands
    cpp = CPP[match["type"]]
    is_so = _COMPARISONS[match["how"]].format(a=take(cpp, single(a)), b=take(cpp, single(b)))
    first, *second = members(to)
    return "".join([put("bool", first, is_so), *(put("bool", other, f"!({is_so})") for other in second)])


def _wide(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, *inputs = map(single, operands)
    narrow, wide = CPP[match["type"]], CPP[match["type"][0] + str(2 * int(match["type"][1:]))]
    a, b = (f"static_cast<{wide}>({take(narrow, value)})" for value in inputs[:2])
    product = f"{a} * {b}"
    if match["op"] == "mul.hi":
        return put(narrow, to, f"static_cast<{narrow}>({product} >> {match['type'][1:]})")
    if match["op"] == "mad.wide":
        product += f" + {take(wide, inputs[2])}"
    return put(wide, to, product)


def _lookup(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, a, b, c, table = map(single, operands)
    inputs = ", ".join(take("uint32_t", value) for value in (a, b, c, table))
    return put("uint32_t", to, f"simulator_ptx::lop3({inputs})")


def _permute(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, *inputs = map(single, operands)
    return put("uint32_t", to, f"__byte_perm({', '.join(take('uint32_t', value) for value in inputs)})")


def _dot(match: re.Match[str], operands: list[Rendered]) -> str | None:
    to, a, b, c = map(single, operands)
    bytes_of = {"s32": "int8_t", "u32": "uint8_t"}
    total = "uint32_t" if match["a"] == match["b"] == "u32" else "int32_t"
    types = f"{bytes_of[match['a']]}, {bytes_of[match['b']]}"
    words = f"{take('uint32_t', a)}, {take('uint32_t', b)}"
    return put(total, to, f"simulator_dp4a<{types}>({words}, {take(total, c)})")


_TYPES = "|".join(CPP)

RULES: tuple[Rule, ...] = (
    *_operations(),
    rule(r"(?P<way>shl|shr)\.(?P<type>b16|b32|b64|u16|u32|u64|s16|s32|s64)", _shift),
    rule(rf"mov\.(?P<type>{_TYPES})", _move),
    rule(rf"selp\.(?P<type>{_TYPES})", _select),
    rule(rf"setp\.(?P<how>{'|'.join(_COMPARISONS)})(?:\.ftz)?\.(?P<type>{_TYPES})", _compare),
    rule(r"(?P<op>mul\.wide|mad\.wide|mul\.hi)\.(?P<type>[us](?:16|32))", _wide),
    rule(r"lop3\.b32", _lookup),
    rule(r"prmt\.b32", _permute),
    rule(r"dp4a\.(?P<a>[us]32)\.(?P<b>[us]32)", _dot),
)
