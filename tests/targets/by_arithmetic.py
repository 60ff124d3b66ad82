"""Instructions on bytes that this host may lack."""

from __future__ import annotations

from tvm import tirx
from tvm.ir import Expr

from dsc.targets.cpu.tile import RegisterTile, reinterpreted


class ByArithmetic(RegisterTile):
    """The tile of an instruction that this host may lack: the same sums, lane by lane."""

    def multiply_add(self, i: int, v: int, a: Expr, b: Expr) -> None:
        row = self.instruction
        if row.name not in ("vpdpbusd", "sdot", "udot", "usdot", "smlal"):
            super().multiply_add(i, v, a, b)
            return
        left, right = (reinterpreted(x, f"{t}x{row.n * row.k}") for t, x in ((row.a, a), (row.b, b)))
        total = self[i, v]
        for k in range(row.k):
            lanes = [tirx.const(k + row.k * lane, "int32") for lane in range(row.n)]
            x, y = (tirx.Shuffle([value], lanes).astype(f"int32x{row.n}") for value in (left, right))
            total = total + x * y
        self.put(i, v, total)
