"""The kernel for products by a constant that is mostly zeros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dsc.ir import SparseAttr
from dsc.lower.workload import Workload
from dsc.targets.cpu.gemm.integers import INTEGER_PRODUCTS, integer_products
from dsc.targets.cpu.gemm.product import Product, product_of
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.sparse.matmul_space import SparseMatmulSpace
from dsc.targets.kernel import Refusal


@dataclass(frozen=True)
class SparseMatmul:
    """Products by a weight whose type says where its zeros are, with an elementwise epilogue.

    MatMul and Gemm in float32; MatMulInteger where an instruction multiplies four bytes at once.
    """

    name: str = "cpu.sparse_matmul"
    skips_zeros: ClassVar[bool] = True

    def match(self, workload: Workload, machine: Cpu) -> SparseMatmulSpace | Refusal:
        """The tilings of the product in `workload`."""
        if not any(isinstance(operand.encoding, SparseAttr) for operand in workload.operands):
            return Refusal("no weight with a pattern of zeros")
        found = _product(workload, machine)
        if isinstance(found, Refusal):
            return found
        encoding = None if found.weight is None else workload.operands[found.weight].encoding
        if not isinstance(encoding, SparseAttr) or len(found.b.shape) != 2:
            return Refusal("what is sparse is no weight of the product alone")
        if encoding.axis.data != (0 if found.transposed_weight else 1):
            return Refusal("zeros are in blocks of inputs")
        if found.packed != found.operands[1]:
            return Refusal(f"the weight is kept in {found.packed}")
        if not isinstance(found.k, int) or not isinstance(found.n, int):
            return Refusal("a depth that is not known")
        return SparseMatmulSpace(found, encoding, machine)


def _product(workload: Workload, machine: Cpu) -> Product | Refusal:
    """The product, in a form that an instruction takes: of floats, or of four bytes at once."""
    if not any(op.name in INTEGER_PRODUCTS for op in workload.body):
        return product_of(workload)
    forms = integer_products(workload)
    if isinstance(forms, Refusal):
        return forms
    for form in forms:
        rows = machine.multiply_adds(*form.operands)
        if rows and rows[0].k == 4:
            return form
    return Refusal("no instruction that multiplies four bytes at once")
