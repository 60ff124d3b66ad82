"""The onnx dialect: one class for each operator of ONNX's default domain, at `dsc.ir.OPSET`.

>>> from dsc.ir import onnx
>>> conv = onnx.Conv.make(x, w, b, strides=[1, 1])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdsl.ir import Dialect

from dsc.ir.onnx.attributes import StringsAttr
from dsc.ir.onnx.base import OnnxOp
from dsc.ir.onnx.facts import OPERATORS, Fact, encoding_parameters, has
from dsc.ir.onnx.infer import OPSET, constant_value
from dsc.ir.onnx.schemas import op_classes
from dsc.ir.types import OptionalType, SequenceType, StringType

OPS: dict[str, type[OnnxOp]] = op_classes()
"""The operation classes by ONNX name."""

globals().update(OPS)

DIALECT = Dialect("onnx", list(OPS.values()), [StringsAttr, StringType, SequenceType, OptionalType])

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
    "has",
]
