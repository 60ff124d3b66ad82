"""Operators of our own in TVM's expressions: it knows of them that they are pure and work on vectors, nothing else."""

from __future__ import annotations

from typing import Any

from tvm.ir import Call, Expr, Op, _ffi_api

PREFIX = "dsc."
_PURE = 1
"""TVM's CallEffectKind of what neither reads nor writes memory."""


def operator(name: str, description: str) -> Op:
    """Registers the operator `dsc.<name>`."""
    name = PREFIX + name
    _ffi_api.RegisterOp(name, description)
    made = Op.get(name)
    for attribute, value in (("TVectorizable", True), ("TCallEffectKind", _PURE), ("TScriptPrinterName", name)):
        made.set_attr(attribute, value)
    return made


def name_of(value: Any) -> str | None:
    """The name of the operator of ours that `value` is a call of, without the prefix; None for anything else."""
    name = str(getattr(value.op, "name", "")) if isinstance(value, Call) else ""
    return name.removeprefix(PREFIX) if name.startswith(PREFIX) else None


def call(made: Op, dtype: str, *operands: Expr) -> Expr:
    """A call of an operator, whose result has the type `dtype`."""
    return Call(made, operands, ret_ty=dtype)
