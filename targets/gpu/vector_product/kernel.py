"""The kernel for products of a few rows."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.lower.workload import Workload
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.vector_product.source import vector_product_of
from dsc.targets.gpu.vector_product.space import VectorProductSpace
from dsc.targets.kernel import Refusal


@dataclass(frozen=True)
class MultiplyVectors:
    """Products of up to 16 rows by a matrix in memory, plain or transposed, with an elementwise epilogue: of any types
    and sizes."""

    name: str = "gpu.vector_product"

    def match(self, workload: Workload, machine: Gpu) -> VectorProductSpace | Refusal:
        """The ways to share the product in `workload`."""
        source = vector_product_of(workload, machine)
        if isinstance(source, Refusal):
            return source
        space = VectorProductSpace(source)
        return space if space.points() else Refusal("its sums do not fit the memory that a block shares")
