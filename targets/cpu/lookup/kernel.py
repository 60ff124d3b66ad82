"""The kernel for lookups of bytes in a table of bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dsc.ir import onnx
from dsc.lower.nominal import volume
from dsc.lower.workload import Operand, Workload
from dsc.targets.cpu.byte_table import ByteTable
from dsc.targets.cpu.generic.schedule import worth_a_launch
from dsc.targets.cpu.lookup.code import ENTRIES, SHARE, Tensor, write
from dsc.targets.cpu.machine import Cpu
from dsc.targets.kernel import Implementation, Refusal

BYTES = (np.dtype(np.int8), np.dtype(np.uint8))


@dataclass(frozen=True)
class Vectors:
    """The one point: vectors of so many bytes."""

    lanes: int


@dataclass(frozen=True, eq=False)
class LookupSpace:
    """One lookup."""

    operands: tuple[Operand, ...]
    """What is looked up, and the table."""
    table_at: int
    result: str
    """Element type."""
    form: ByteTable
    machine: Cpu

    def points(self) -> tuple[Vectors]:
        """One."""
        return (Vectors(self.form.lanes),)

    def estimate(self, point: Vectors) -> float:
        """Seconds: instructions, or bytes moved."""
        cores = min(self.machine.cores, math.ceil(self._count / SHARE)) if self._parallel else 1
        return self._seconds / cores + (self.machine.launch_seconds if self._parallel else 0.0)

    @property
    def _count(self) -> int:
        return volume(self.operands[1 - self.table_at].shape)

    @property
    def _seconds(self) -> float:
        """On one core."""
        moved = 2 * self._count / self.machine.bandwidth(2 * self._count)
        return max(moved, math.ceil(self._count / self.form.lanes) * self.form.cycles / self.machine.frequency)

    @property
    def _parallel(self) -> bool:
        return worth_a_launch(self._seconds, self.machine)

    def build(self, point: Vectors) -> Implementation:
        """The code."""
        tensors = [Tensor(operand.shape, operand.element.dtype.name) for operand in self.operands]
        made = Tensor(tensors[1 - self.table_at].shape, self.result)
        return Implementation(write(tensors, self.table_at, made, self.form, self._parallel))


@dataclass(frozen=True)
class Lookup:
    """``Gather(table, Cast(x))``: a table of 256 bytes, and the bytes that are looked up in it."""

    name: str = "cpu.lookup"

    def match(self, workload: Workload, machine: Cpu) -> LookupSpace | Refusal:
        """The space, or why it is no such lookup."""
        match workload.body:
            case (onnx.Cast() as index, onnx.Gather() as gather) if gather.indices is index.results[0]:
                pass
            case _:
                return Refusal("no lookup alone")
        if machine.byte_table is None:
            return Refusal("no instruction looks bytes up")
        operands = workload.operands
        table = next((i for i, operand in enumerate(operands) if operand.value is gather.data), None)
        if table is None or len(operands) != 2 or workload.scalars or operands[1 - table].value is not index.input:
            return Refusal("not a table and what is looked up")
        if any(operand.element.dtype not in BYTES for operand in operands):
            return Refusal("not bytes by bytes")
        if operands[table].shape != (ENTRIES,):
            return Refusal(f"the table has not {ENTRIES} elements")
        return LookupSpace(operands, table, operands[table].element.dtype.name, machine.byte_table, machine)
