"""The kernel for products by a constant that is mostly zeros."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.ir import SparseAttr
from dsc.lower.workload import Workload
from dsc.targets.cpu.gemm.product import FLOAT32, product_of
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.sparse.matmul_space import SparseMatmulSpace
from dsc.targets.kernel import Refusal


@dataclass(frozen=True)
class SparseMatmul:
    """MatMul and Gemm in float32 by a weight whose type says where its zeros are, with an elementwise epilogue."""

    name: str = "cpu.sparse_matmul"

    def match(self, workload: Workload, machine: Cpu) -> SparseMatmulSpace | Refusal:
        """The tilings of the product in `workload`."""
        if not any(isinstance(operand.encoding, SparseAttr) for operand in workload.operands):
            return Refusal("no weight with a pattern of zeros")
        found = product_of(workload)
        if isinstance(found, Refusal):
            return found
        encoding = None if found.weight is None else workload.operands[found.weight].encoding
        if not isinstance(encoding, SparseAttr) or len(found.b.shape) != 2:
            return Refusal("what is sparse is no weight of the product alone")
        if encoding.axis.data != (0 if found.transposed_weight else 1):
            return Refusal("zeros are in blocks of inputs")
        if found.packed != "float32" or not machine.multiply_adds(*FLOAT32):
            return Refusal(f"the weight is kept in {found.packed}")
        if not isinstance(found.k, int) or not isinstance(found.n, int):
            return Refusal("a depth that is not known")
        return SparseMatmulSpace(found, encoding, machine)
