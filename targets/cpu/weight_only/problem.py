"""What a workload with a product by a weight of few bits computes, apart from how."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.elements import IntegerEncoding, integer_encoding
from dsc.ir import element_of, onnx
from dsc.lower.workload import Workload
from dsc.targets.cpu.gemm.product import Product, dequantizes_groups, product_of
from dsc.targets.kernel import Refusal

WORD = 32
"""Bits of what integers are packed into and unpacked from: lanes of a vector, as float32 are."""


@dataclass(frozen=True, eq=False)
class WeightOnlyProduct:
    """``acc = a @ (scales[k // size, n] * (integers[k, n] - zeros[k // size, n]))``, and its epilogue."""

    product: Product
    """Its `b` are the floats."""
    integers: int
    """The input that they are."""
    scales: int
    zeros: int | None
    encoding: IntegerEncoding
    """Of the integers."""
    depth: int
    columns: int
    size: int
    """Of a group; the last may be smaller."""

    @property
    def in_a_word(self) -> int:
        """Integers, one below the other in the depth, that a word holds."""
        return WORD // self.encoding.bits

    @property
    def words(self) -> int:
        """Of a column."""
        return -(-self.depth // self.in_a_word)

    @property
    def groups(self) -> int:
        """Of the depth."""
        return -(-self.depth // self.size)


def weight_only_product(workload: Workload) -> WeightOnlyProduct | Refusal:
    """The product by a weight of few bits that `workload` is, or why it is none."""
    made = [op for op in workload.body if dequantizes_groups(op)]
    if len(made) != 1 or not isinstance(dequantize := made[0], onnx.DequantizeLinear):
        return Refusal(f"{len(made)} weights in groups")
    found = product_of(workload)
    if isinstance(found, Refusal):
        return found
    anchor = next((op for op in workload.body if isinstance(op, onnx.MatMul)), None)
    if anchor is None or anchor.B is not dequantize.results[0] or dequantize.attr("axis") != 0:
        return Refusal("the groups are not those of a factor's depth")
    given = {operand.value: i for i, operand in enumerate(workload.operands) if operand.constant}
    values = [value for value in dequantize.node_inputs() if value is not None]
    if any(value not in given or workload.reads(value) != 1 for value in values):
        return Refusal("its weight is not constant, or read by more than the product")
    encoding = integer_encoding(element_of(dequantize.x.type).dtype)
    depth, columns = dequantize.x.type.get_shape()
    size = min(int(dequantize.attr("block_size")), depth)
    if encoding is None or encoding.bits not in (2, 4, 8):
        return Refusal("no integers that words hold")
    positions = [given[value] for value in values]
    zeros = positions[2] if len(positions) == 3 else None
    problem = WeightOnlyProduct(found, positions[0], positions[1], zeros, encoding, depth, columns, size)
    if problem.groups > 1 and size % problem.in_a_word:
        return Refusal(f"groups of {size} are no whole words")
    return problem
