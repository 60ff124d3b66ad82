"""``wgmma.mma_async``: four neighbouring warps, a warpgroup, multiply 64 rows by up to 256 columns (PTX ISA 9.0,
"Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions").

Both factors are in shared memory, where the instruction reads them by itself while the warps go on; only the sums are
in registers, 16 rows in each warp. Until the instructions of a group have been waited for nobody may touch their sums,
or write what they read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.gpu.matrix.mma_sync import place_of_sum
from dsc.targets.machine import MultiplyAdd

WARPS = 4
"""Of a warpgroup, which begins at a multiple of as many."""
ROWS, DEPTH = 64, 16
"""Of one instruction."""
_NAME = re.compile(rf"wgmma\.mma_async\.sync\.aligned\.m{ROWS}n\d+k{DEPTH}\.f32\.(f16|bf16)\.\1")


@dataclass(frozen=True)
class Wgmma:
    """One instruction, and where its sums are: a warp's are fragments of 16 columns side by side, each as those of a
    pair of ``mma.sync`` (see `dsc.targets.gpu.matrix.fragments.Sums`)."""

    name: str
    across: int
    """Columns of the instruction."""
    rows: int = ROWS // WARPS
    columns: int = 16
    sums: int = 8
    run: int = 2

    @property
    def registers(self) -> int:
        """Of a lane, for all sums."""
        return self.across // self.columns * self.sums

    def position(self, lane: Expr, register: int) -> tuple[Expr, Expr]:
        """As those of ``mma.sync``."""
        return place_of_sum(lane, register)

    def multiply(self, sums: tirx.Buffer, a: Expr, b: Expr, transposed: tuple[bool, bool]) -> None:
        """Starts to add the products of two matrices, given by their descriptors, to all sums.

        transposed: of either, whether neighbours in shared memory are neighbours from line to line, not in depth."""
        registers = [sums[i] for i in range(self.registers)]
        is_added, signs = tirx.const(True, "bool"), (1, 1)
        T.evaluate(T.ptx[self.name](*registers, a, b, is_added, *signs, *map(int, transposed)))


def wgmma(row: MultiplyAdd) -> Wgmma | None:
    """The instruction, if it is one of these."""
    return Wgmma(row.intrinsic, row.n) if row.intrinsic is not None and _NAME.fullmatch(row.intrinsic) else None


def publish() -> None:
    """What this thread has written to shared memory, or has had copied there, can be read by these instructions, once
    threads have met: they go by a way of their own (the async proxy), which an ordinary barrier does not order."""
    T.evaluate(T.ptx["fence.proxy.async.shared::cta"]())


def begin() -> None:
    """Before instructions whose sums, or none of them, have been touched: orders the registers."""
    T.evaluate(T.ptx["wgmma.fence.sync.aligned"]())


def commit() -> None:
    """What was started since the last time is one group."""
    T.evaluate(T.ptx["wgmma.commit_group.sync.aligned"]())


def wait(groups: int) -> None:
    """Until all but so many groups, the newest, are done."""
    T.evaluate(T.ptx["wgmma.wait_group.sync.aligned"](groups))
