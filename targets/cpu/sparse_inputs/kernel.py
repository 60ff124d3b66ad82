"""The kernel for products of few rows whose inputs are 0 often."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.lower.workload import Workload
from dsc.targets.cpu.gemm.product import FLOAT32, product_of
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.sparse_inputs.space import MOST_ROWS, SparseInputsSpace
from dsc.targets.kernel import Refusal


@dataclass(frozen=True)
class SparseInputs:
    """MatMul and Gemm of one row or a few by a constant, in float32, with an elementwise epilogue.

    The pass `sparse-inputs` says of which products: by its word, weights are finite, so that what is left out would
    have added 0. Sums are those of `cpu.gemm`, in the same order: no bit differs.
    """

    name: str = "cpu.sparse_inputs"

    def match(self, workload: Workload, machine: Cpu) -> SparseInputsSpace | Refusal:
        """The tilings of the product in `workload`."""
        if not workload.expected_zeros:
            return Refusal("no inputs that are expected to be 0")
        found = product_of(workload)
        if isinstance(found, Refusal):
            return found
        if found.weight is None or len(found.b.shape) != 2:
            return Refusal("no matrix of weights that the product alone reads")
        if found.packed != FLOAT32[1]:
            return Refusal(f"the weight is kept in {found.packed}")
        if not isinstance(found.m, int) or found.batch:
            return Refusal("a number of rows that is not known")
        if not isinstance(found.k, int) or not isinstance(found.n, int):
            return Refusal("a depth that is not known")
        if found.m > MOST_ROWS:
            return Refusal(f"{found.m} rows: few inputs are 0 in all of them")
        return SparseInputsSpace(found, machine, workload.expected_zeros)
