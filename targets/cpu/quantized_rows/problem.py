"""What a product by a weight of few bits is where its activations may be rounded to integers of one or two bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dsc.lower.workload import Workload
from dsc.targets.cpu.gemm.integers import SIGN
from dsc.targets.cpu.gemm.product import Product
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.weight_only.problem import WeightOnlyProduct, weight_only_product
from dsc.targets.kernel import Refusal

GROUP = 32
"""Activations that share a step where the weight's groups allow it: as many as OpenVINO has in one. Sums become floats
after so many products, which takes an eighth more time than one step for a row would."""
BYTES = {"int8": 1, "int16": 2}
"""That an activation becomes, by the type to which a workload lets it be rounded."""


@dataclass(frozen=True, eq=False)
class ByteProduct:
    """``acc = (t * q) @ (scales * (integers - zeros))``, t the steps of activations, q these in steps.

    Neighbours in a row of activations share a step. Such a group lies in one of the weight.
    Each q is ``sum over i of bytes[i] * 256**i``, of signed bytes: rows of bytes are multiplied, and their sums put
    together. Zero points are multiplied by the sum of the q of a group.
    """

    weight: WeightOnlyProduct
    bytes: int
    """Of a q."""
    dtype: str
    """Of the bytes as the instruction takes them: unsigned ones are 128 more."""

    @property
    def size(self) -> int:
        """Of a group of activations; the last may be smaller."""
        weight = self.weight
        shared = weight.groups == 1 or weight.size % GROUP == 0
        return min(GROUP, weight.depth) if shared else weight.size

    @property
    def groups(self) -> int:
        """In a row of activations."""
        return -(-self.weight.depth // self.size)

    @property
    def largest(self) -> int:
        """The largest magnitude of a q: that of as many bytes of 127."""
        return sum(127 << (8 * i) for i in range(self.bytes))

    @property
    def offset(self) -> int:
        """What is taken off integers of the weight, and of zero points, to make them signed."""
        encoding = self.weight.encoding
        return 0 if encoding.signed else 1 << (encoding.bits - 1)

    @property
    def shift(self) -> int:
        """What is added to each byte."""
        return SIGN if self.dtype == "uint8" else 0

    @property
    def in_bytes(self) -> Product:
        """The product of rows of bytes: of each row of activations one, or two."""
        product = self.weight.product
        rows = product.rows if self.bytes == 1 else (*product.rows, self.bytes)
        operands = (self.dtype, "int8", "int32")
        return replace(product, rows=rows, operands=operands, weight=self.weight.integers, packed="int8")


def byte_product(workload: Workload, machine: Cpu) -> ByteProduct | Refusal:
    """The product of bytes that `workload` may be, or why it is none."""
    count = BYTES.get(workload.multiplied_as or "")
    if count is None:
        return Refusal("activations may not be rounded to bytes")
    found = weight_only_product(workload)
    if isinstance(found, Refusal):
        return found
    if found.encoding.bits not in (4, 8):
        return Refusal(f"its weight is of {found.encoding.bits} bits")
    if not found.encoding.signed and found.zeros is None:
        return Refusal("its weight is unsigned and has no zero points")
    dtype = next((d for d in ("int8", "uint8") if machine.multiply_adds(d, "int8", "int32")), None)
    if dtype is None:
        return Refusal("no instruction that multiplies bytes by signed bytes")
    problem = ByteProduct(found, count, dtype)
    if problem.size * max(SIGN * SIGN, problem.largest) >= 1 << 31:
        return Refusal(f"sums of {problem.size} products leave 32 bits")
    return problem
