"""MFMA and WMMA: intrinsics by their names, with types and shapes that the core multiplies by (core/amd_matrix.cpp)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dsc.simulator.amd.ir import Call
from dsc.simulator.amd.types import bytes_of, type_at

_TYPES = ("f16", "bf16", "xf32", "f32", "s8", "u8", "s32")
"""In the order of SimulatorType (native/device/abi.h)."""
_ELEMENT_BYTES = {"f16": 2, "bf16": 2, "xf32": 4, "f32": 4, "s8": 1, "u8": 1, "s32": 4}
_MFMA, _WMMA_REPEATED, _WMMA = range(3)
"""SimulatorAmdLayout (native/device/amd.h)."""
_SHAPE = r"(?P<sum>f32|i32)\.(?P<m>\d+)x(?P<n>\d+)x(?P<k>\d+)"
_MFMA_NAME = re.compile(rf"llvm\.amdgcn\.mfma\.{_SHAPE}\.?(?P<type>f16|bf16|xf32|f32|i8)(?:\.1k)?")
_WMMA_NAME = re.compile(r"llvm\.amdgcn\.wmma\.(?P<sum>f32|i32)\.16x16x16\.(?P<type>f16|bf16|iu8)(?:\.v\d+\w+)*")
LANES = {"mfma": 64, "wmma": 32}
"""Of the wavefronts that have them."""


@dataclass(frozen=True)
class Product:
    """One of these instructions, as the core is told."""

    layout: int
    m: int
    n: int
    k: int
    a: str
    b: str
    sum: str
    saturates: bool = False

    @property
    def text(self) -> str:
        """A structure SimulatorAmdMatrix."""
        types = [_TYPES.index(each) for each in (self.a, self.b, self.sum)]
        numbers = (self.layout, self.m, self.n, self.k, *types, int(self.saturates))
        return f"{{ {', '.join('i32' for _ in numbers)} }} {{ {', '.join(f'i32 {number}' for number in numbers)} }}"


def matrix(call: Call, _: re.Match[str]) -> list[str]:
    """A call of the function that stands for the instruction. Raises ValueError for one that is not known."""
    operands = _product(call)[1]
    return [call.of(_name(call), [f"i32 {call.line}", *operands])]


def definitions(calls: Iterable[Call]) -> list[str]:
    """The functions that calls of matrix instructions are replaced by: each has the core see its registers."""
    return list({_name(call): _definition(call) for call in calls}.values())


def _name(call: Call) -> str:
    """Of the intrinsic, with its flags."""
    flags = [argument.split()[-1] for argument in call.arguments if argument.startswith("i1 ")]
    return ".".join(["simulator", call.name.removeprefix("llvm.amdgcn."), *flags])


def _definition(call: Call) -> str:
    product, operands = _product(call)
    function, result = _name(call), call.type[call.type.index("<") :].strip()
    a, b, c = map(type_at, operands)
    return "\n".join(
        [
            f"@{function}.shape = private constant {product.text}",
            f"define internal {result} @{function}(i32 %line, {a} %a, {b} %b, {c} %c) #0 {{",
            *(f"  %{name}.at = alloca {type}" for name, type in zip("abcd", (a, b, c, result), strict=True)),
            *(f"  store {type} %{name}, ptr %{name}.at" for name, type in zip("abc", (a, b, c), strict=True)),
            f"  call void @simulator_amd_matrix(i32 %line, ptr @{function}.shape, "
            "ptr %a.at, ptr %b.at, ptr %c.at, ptr %d.at)",
            f"  %d = load {result}, ptr %d.at",
            f"  ret {result} %d",
            "}",
        ]
    )


def _product(call: Call) -> tuple[Product, list[str]]:
    """The product that an instruction is, and its operands a, b and c."""
    product, operands = _mfma(call) if ".mfma." in call.name else _wmma(call)
    places = ((product.a, product.m), (product.b, product.n), (product.sum, 0))
    for operand, (element, lines) in zip(operands, places, strict=True):
        _check_size(call, operand, _elements(product, lines) * _ELEMENT_BYTES[element])
    return product, operands


def _elements(product: Product, lines: int) -> int:
    """Those of a lane: of a factor with so many lines, or of the sum (0)."""
    lanes = LANES["mfma" if product.layout == _MFMA else "wmma"]
    if lines == 0:
        return product.m * product.n // lanes
    return product.k if product.layout == _WMMA_REPEATED else product.k * lines // lanes


def _check_size(call: Call, operand: str, wanted: int) -> None:
    found = bytes_of(type_at(operand))
    if found != wanted:
        raise ValueError(f"the simulator does not know {call.name} with an operand of {found} bytes")


def _mfma(call: Call) -> tuple[Product, list[str]]:
    """Of one product in a wavefront of 64 lanes: those of several blocks are not known."""
    match = _MFMA_NAME.fullmatch(call.name)
    if match is None or (int(match["m"]), int(match["n"])) not in ((32, 32), (16, 16)):
        raise ValueError(f"the simulator does not know {call.name}")
    if any(not argument.endswith(" 0") for argument in call.arguments[3:]):
        raise ValueError(f"the simulator does not know {call.name} with operands that are broadcast or permuted")
    element = "s8" if match["type"] == "i8" else match["type"]
    total = "s32" if match["sum"] == "i32" else "f32"
    product = Product(_MFMA, int(match["m"]), int(match["n"]), int(match["k"]), element, element, total)
    return product, call.arguments[:3]


def _wmma(call: Call) -> tuple[Product, list[str]]:
    """Of 32 lanes, which hold the factors twice (gfx11) or once (gfx12): the number of a lane's elements says which."""
    match = _WMMA_NAME.fullmatch(call.name)
    if match is None:
        raise ValueError(f"the simulator does not know {call.name}")
    if match["type"] == "iu8":
        a_signed, a, b_signed, b, c, clamp = call.arguments
        of_a, of_b = ("s8" if each.endswith("true") else "u8" for each in (a_signed, b_signed))
        total, saturates = "s32", clamp.endswith("true")
    else:
        a, b, c = call.arguments
        of_a, of_b, total, saturates = match["type"], match["type"], "f32", False
    is_repeated = bytes_of(type_at(a)) == 16 * _ELEMENT_BYTES[of_a]
    layout = _WMMA_REPEATED if is_repeated else _WMMA
    return Product(layout, 16, 16, 16, of_a, of_b, total, saturates), [a, b, c]
