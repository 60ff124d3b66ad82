"""The onnx dialect: one class for each operator of ONNX's default domain, at `dsc.ir.OPSET`, and for those of other
domains that plugins register.

>>> from dsc.ir import onnx
>>> conv = onnx.Conv.make(x, w, b, strides=[1, 1])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsc.ir.onnx.base import OnnxOp
from dsc.ir.onnx.facts import OPERATORS, Fact, encoding_parameters, has
from dsc.ir.onnx.infer import OPSET, constant_value
from dsc.ir.onnx.names import operator_name
from dsc.ir.onnx.operators import (
    DIALECT,
    OPS,
    find_operator,
    register_operator,
    registered_operators,
    unregister_operator,
)

globals().update(OPS)

if TYPE_CHECKING:

    def __getattr__(name: str) -> type[OnnxOp]: ...


__all__ = [
    "DIALECT",
    "OPERATORS",
    "OPS",
    "OPSET",
    "Fact",
    "OnnxOp",
    "constant_value",
    "encoding_parameters",
    "find_operator",
    "has",
    "operator_name",
    "register_operator",
    "registered_operators",
    "unregister_operator",
]
