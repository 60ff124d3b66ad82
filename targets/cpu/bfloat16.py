"""bfloat16 vectors as operands of LLVM's intrinsics, and as what it rounds to, which TVM cannot write: it has no LLVM
type for them.

Such a call becomes one of a function in LLVM's own text, which takes and gives their bits and is always inlined.
"""

from __future__ import annotations

from collections.abc import Iterable

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr
from tvm_ffi.structural import StructuralMutator

from dsc.lower.operators import call, name_of, operator
from dsc.lower.rounding import rounded, rounded_operand

_NAME = "nearest_bfloat16"
_NEAREST = operator(_NAME, "the bits of the nearest bfloat16")
_LLVM = {"float32": "float", "int32": "i32", "uint16": "i16", "bfloat16": "bfloat"}
_CONVERTED = (4, 8, 16, 32)
"""Lanes of vectors that LLVM rounds by instructions."""


def bfloat16_operands(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``intrinsic(reinterpret("bfloat16x32", bits))`` as ``helper(bits)``, and LLVM's text of the helpers."""
    helpers: dict[str, str] = {}

    def intrinsic(node: Call, mutator: StructuralMutator) -> Expr:
        if getattr(node.op, "name", "") != "tirx.call_llvm_pure_intrin":
            return mutator.default_mutate(node)
        bits = [_bits(operand) for operand in node.args[1:]]
        if all(each is None for each in bits):
            return mutator.default_mutate(node)
        name = str(tvm.target.codegen.llvm_get_intrinsic_name(int(node.args[0].value)))
        helpers[name] = _helper(name, node)
        operands = [plain if each is None else each for each, plain in zip(bits, node.args[1:], strict=True)]
        return tirx.call_pure_extern(str(node.ty), f"dsc.{name}", *map(mutator.mutate, operands))

    body = tvm_ffi.structural_mutate(func.body, [(Call, intrinsic)])
    return func.with_body(_with_texts(body, helpers.values())) if helpers else func


def hidden_roundings(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Roundings to bfloat16 as calls, for a machine that has an instruction for vectors of them; before anything is
    simplified."""

    def let(node: tirx.Let, mutator: StructuralMutator) -> Expr:
        value = rounded_operand(node)
        if value is None:
            return mutator.default_mutate(node)
        return call(_NEAREST, str(node.expr_ty()), mutator.mutate(value))

    return func.with_body(tvm_ffi.structural_mutate(func.body, [(tirx.Let, let)]))


def plain_roundings(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """The calls of `hidden_roundings` once vectors are made, by LLVM's conversion. Single numbers and odd vectors, for
    which LLVM may call a routine of the compiler's library, by arithmetic on integers again."""
    texts: dict[int, str] = {}

    def nearest(node: Call, mutator: StructuralMutator) -> Expr:
        if name_of(node) != _NAME:
            return mutator.default_mutate(node)
        value, lanes = mutator.mutate(node.args[0]), node.ty.dtype.lanes
        if lanes not in _CONVERTED:
            return rounded(value)
        texts[lanes] = _conversion(lanes)
        return tirx.call_pure_extern(str(node.ty), _converting(lanes), value)

    body = tvm_ffi.structural_mutate(func.body, [(Call, nearest)])
    return func.with_body(_with_texts(body, texts.values()))


def _converting(lanes: int) -> str:
    return f"dsc.{_NAME}.v{lanes}"


def _conversion(lanes: int) -> str:
    return (
        f"define linkonce_odr hidden <{lanes} x i16> @{_converting(lanes)}(<{lanes} x float> %p) alwaysinline {{\n"
        f"  %q = fptrunc <{lanes} x float> %p to <{lanes} x bfloat>\n"
        f"  %r = bitcast <{lanes} x bfloat> %q to <{lanes} x i16>\n  ret <{lanes} x i16> %r\n}}\n"
    )


def _with_texts(body: tirx.Stmt, texts: Iterable[str]) -> tirx.Stmt:
    """A body with functions in LLVM's text beside it."""
    for text in texts:
        body = tirx.AttrStmt(tirx.const(0, "int32"), "pragma_import_llvm", tvm.ir.StringImm(text), body)
    return body


def _bits(operand: Expr) -> Expr | None:
    """What `operand` reinterprets as bfloat16, as integers of 16 bits; None where it does not."""
    if not str(operand.ty).startswith("bfloat16") or getattr(operand.op, "name", "") != "tirx.reinterpret":
        return None
    bits = str(operand.ty).replace("bfloat16", "uint16")
    return operand.args[0] if str(operand.args[0].ty) == bits else tirx.reinterpret(bits, operand.args[0])


def _helper(name: str, call: Call) -> str:
    """The function that takes bits and calls the intrinsic."""
    result, wanted = _type(call), [_type(operand) for operand in call.args[1:]]
    given = [each.replace("bfloat", "i16") for each in wanted]
    parameters = ", ".join(f"{each} %p{i}" for i, each in enumerate(given))
    casts = "".join(f"  %q{i} = bitcast {g} %p{i} to {w}\n" for i, (g, w) in enumerate(zip(given, wanted, strict=True)))
    operands = ", ".join(f"{each} %q{i}" for i, each in enumerate(wanted))
    return (
        f"declare {result} @{name}({', '.join(wanted)})\n"
        f"define linkonce_odr hidden {result} @dsc.{name}({parameters}) alwaysinline {{\n"
        f"{casts}  %r = call {result} @{name}({operands})\n  ret {result} %r\n}}\n"
    )


def _type(value: Expr) -> str:
    """LLVM's name of a vector type."""
    element, _, lanes = str(value.ty).partition("x")
    return f"<{lanes} x {_LLVM[element]}>"
