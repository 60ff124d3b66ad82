"""The factors of an attention's products as bytes, where each is dequantized by one scale and zero point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import te
from xdsl.ir import SSAValue

from dsc.ir import OnnxOp, element_of, onnx
from dsc.lower.te import Lowered
from dsc.lower.workload import is_scalar


@dataclass(frozen=True, eq=False)
class Quantized:
    """``(values - zero) * scale``, of bytes."""

    values: te.Tensor
    """Of the shape of the factor, int8 or uint8."""
    scale: te.Tensor
    """Of one element, as is `zero`; None is 0."""
    zero: te.Tensor | None


@dataclass(frozen=True, eq=False)
class QuantizedFactors:
    """Of both products; `weights` are those of the values, elementwise in the probabilities."""

    q: Quantized
    k: Quantized
    weights: Quantized
    v: Quantized


def quantized_factors(first: OnnxOp, second: OnnxOp, body: Lowered) -> QuantizedFactors | None:
    """The factors of the products `first` and `second`, if all four of them are quantized."""
    found = [_quantized(value, body) for product in (first, second) for value in product.operands]
    q, k, weights, v = found
    return None if q is None or k is None or weights is None or v is None else QuantizedFactors(q, k, weights, v)


def _quantized(factor: SSAValue, body: Lowered) -> Quantized | None:
    op = factor.owner
    if not isinstance(op, onnx.DequantizeLinear) or not all(map(is_scalar, op.operands[1:])):
        return None
    if element_of(op.x.type).dtype not in (np.int8, np.uint8):
        return None
    zero = None if op.x_zero_point is None else body.tensor(op.x_zero_point)
    return Quantized(body.tensor(op.x), body.tensor(op.x_scale), zero)
