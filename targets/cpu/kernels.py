"""The kernels for CPUs, in order: between equal estimates the first wins, and the last takes any workload."""

from __future__ import annotations

from dsc.targets.cpu.attention import Attention
from dsc.targets.cpu.chosen_weights import ChosenWeights
from dsc.targets.cpu.conv.kernels import Depthwise, Direct, Single, Winograd
from dsc.targets.cpu.empty import Empty
from dsc.targets.cpu.gemm import Gemm
from dsc.targets.cpu.generic.kernel import GenericKernel
from dsc.targets.cpu.lookup import Lookup
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.quantized_rows import QuantizedRows
from dsc.targets.cpu.sparse import SparseConv, SparseMatmul
from dsc.targets.cpu.sparse_inputs import SparseInputs
from dsc.targets.cpu.transpose import Transpose
from dsc.targets.cpu.weight_only import WeightOnly
from dsc.targets.kernel import Kernel


def cpu_kernels() -> tuple[Kernel[Cpu], ...]:
    """All kernels of `dsc.targets.cpu`."""
    return (
        Empty(), Depthwise(), Winograd(), Single(), Direct(), SparseConv(), Attention(), WeightOnly(), QuantizedRows(),
        SparseMatmul(), SparseInputs(), ChosenWeights(), Gemm(), Transpose(), Lookup(), GenericKernel(),
    )  # fmt: skip
