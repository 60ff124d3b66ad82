"""The kernel for matrix products."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.lower.workload import Workload
from dsc.targets.cpu.gemm.bfloat16_product import bfloat16_product
from dsc.targets.cpu.gemm.integers import INTEGER_PRODUCTS, integer_products
from dsc.targets.cpu.gemm.product import Product, dequantizes_groups, product_of
from dsc.targets.cpu.gemm.space import GemmSpace
from dsc.targets.cpu.machine import Cpu
from dsc.targets.kernel import Refusal


@dataclass(frozen=True)
class Gemm:
    """MatMul and Gemm in float32, MatMulInteger, with an elementwise epilogue: constant or computed ``b``, any sizes.

    Of bfloat16, where factors may be rounded to that and the machine multiplies it.
    A vector times a matrix is the tile of one row: a stream of weights.
    """

    name: str = "cpu.gemm"

    def match(self, workload: Workload, machine: Cpu) -> GemmSpace | Refusal:
        """The tilings of the product in `workload`, in the first of its forms that the machine computes."""
        forms = _forms(workload, machine)
        if isinstance(forms, Refusal):
            return forms
        possible = [form for form in forms if machine.multiply_adds(*form.operands)]
        if not possible:
            return Refusal(f"no instruction for {' or '.join(' x '.join(form.operands[:2]) for form in forms)}")
        return GemmSpace(possible[0], machine)


def _forms(workload: Workload, machine: Cpu) -> tuple[Product, ...] | Refusal:
    if any(op.name in INTEGER_PRODUCTS for op in workload.body):
        return integer_products(workload, machine.widening_loads)
    if any(dequantizes_groups(op) for op in workload.body):
        return Refusal("its weight is in groups of few bits")
    found = product_of(workload)
    if isinstance(found, Refusal):
        return found
    rounded = bfloat16_product(workload)
    return (found,) if isinstance(rounded, Refusal) else (rounded, found)
