"""The contract between a kernel and those who choose, build and call it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import numpy as np
import tvm
from tvm import te

from dsc.targets.machine import Machine

if TYPE_CHECKING:
    from dsc.lower.workload import Workload

M = TypeVar("M", bound=Machine, contravariant=True)

Point: TypeAlias = Any
"""One choice in a design space: a frozen dataclass of numbers and strings, to print, compare and store.

Each space has a type of its own and is given only its own points, which the type system cannot say.
"""


@dataclass(frozen=True)
class Refusal:
    """A kernel's answer "not mine"."""

    reason: str


@dataclass(frozen=True)
class ArrayType:
    """A constant array as memory holds it."""

    shape: tuple[int, ...]
    dtype: str
    """As kernels know the elements (`dsc.elements.ElementType.stored`)."""

    @staticmethod
    def of(constant: te.Tensor) -> ArrayType:
        """That of a tensor of known shape."""
        return ArrayType(tuple(int(size) for size in constant.shape), str(constant.dtype))


class Packing(Protocol):
    """How a constant input is rearranged at compile time: a frozen dataclass of plain data.

    It may become several arrays: the values and the indices of a sparse weight.
    """

    def arrays(self, weight: ArrayType) -> tuple[ArrayType, ...]:
        """What `apply` makes of such a weight, known before its data is read."""
        ...

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """The arrays that the kernel wants instead of `array`; each C-contiguous."""
        ...


@dataclass(frozen=True)
class Rearrange:
    """Pad with zeros at the end of each axis, reshape, transpose: blocked layouts of weights.

    ``Rearrange(before=(1, 0), pad=(0, 3), reshape=(64, 5, 16), transpose=(1, 0, 2))`` packs a transposed
    [77, 64] weight as [N/16][K][16].
    """

    pad: tuple[int, ...]
    """Elements appended to each axis (after `before`)."""
    reshape: tuple[int, ...]
    transpose: tuple[int, ...]
    before: tuple[int, ...] | None = None
    """Permutation of the axes of the input before anything else."""
    dtype: str | None = None
    """As which the elements are stored, if not as they are."""

    def arrays(self, weight: ArrayType) -> tuple[ArrayType]:
        """One."""
        return (ArrayType(tuple(self.reshape[axis] for axis in self.transpose), self.dtype or weight.dtype),)

    def apply(self, array: np.ndarray) -> tuple[np.ndarray]:
        """The packed copy."""
        if self.before is not None:
            array = array.transpose(self.before)
        if any(self.pad):
            array = np.pad(array, [(0, extra) for extra in self.pad])
        packed = array.reshape(self.reshape).transpose(self.transpose)
        return (np.ascontiguousarray(packed, dtype=self.dtype or array.dtype),)


@dataclass(frozen=True)
class Implementation:
    """A kernel's code for one workload."""

    func: tvm.tirx.PrimFunc
    """Destination-passing: inputs in workload order (a packed constant as the arrays of its packing),
    `Workload.scalars`, then outputs."""
    packings: Mapping[int, Packing] = field(default_factory=dict)
    """By input index; inputs not named come as they are."""


class Space(Protocol):
    """The ways a kernel can compute one workload."""

    def points(self) -> Sequence[Point]:
        """All choices worth considering, in no order; never empty."""
        ...

    def estimate(self, point: Point) -> float:
        """Expected seconds on the machine with all its cores."""
        ...

    def build(self, point: Point) -> Implementation:
        """The scheduled code of `point`."""
        ...


class Kernel(Protocol[M]):
    """A way to compute some workloads on a kind of machine.

    One that does not multiply by the zeros of a weight says so, for reports: its class has ``skips_zeros = True``.
    """

    @property
    def name(self) -> str:
        """Unique and stable, for reports and the tuning database: ``cpu.gemm``."""
        ...

    def match(self, workload: Workload, machine: M) -> Space | Refusal:
        """The design space for `workload`, or why there is none."""
        ...


def skips_zeros(kernel: Kernel[Any]) -> bool:
    """Whether a kernel does not multiply by the zeros of a weight."""
    return bool(getattr(kernel, "skips_zeros", False))


@dataclass(frozen=True)
class Work:
    """What an implementation does, for the roofline. Counts cover all cores."""

    operations: float
    """Executed, those on padding included; a multiplication and an addition are two."""
    bytes: float
    """Bytes read and written beyond L1, each time they are touched."""
    footprint: float | None = None
    """Distinct bytes touched, which tells the cache they come from; `bytes` if not given."""
    element: str = "float32"
    """Type of what is multiplied: the machine has a peak for each."""
    efficiency: float = 1.0
    """Fraction of peak that the inner loop reaches with its data in L1."""
    tasks: int = 1
    """Equal parts that the parallel axis has; 1 is serial."""


def roofline(machine: Machine, work: Work) -> float:
    """Seconds for `work`: the slower of computing and moving, shared between cores, and the launch."""
    cores = min(machine.cores, work.tasks)
    longest = math.ceil(work.tasks / cores) / work.tasks
    compute = longest * work.operations / (machine.peak(work.element) * work.efficiency)
    footprint = work.bytes if work.footprint is None else work.footprint
    move = longest * cores * work.bytes / machine.bandwidth(footprint, cores)
    return max(compute, move) + (machine.launch_seconds if work.tasks > 1 else 0.0)
