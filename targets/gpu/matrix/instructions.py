"""Which fragments are an instruction's."""

from __future__ import annotations

from collections.abc import Callable

from dsc.targets.gpu.matrix.dot import dot
from dsc.targets.gpu.matrix.fragments import Fragments
from dsc.targets.gpu.matrix.mfma import mfma
from dsc.targets.gpu.matrix.mma_sync import mma_sync
from dsc.targets.gpu.matrix.wmma import wmma
from dsc.targets.machine import MultiplyAdd

KINDS: tuple[Callable[[MultiplyAdd], Fragments | None], ...] = (mma_sync, mfma, wmma, dot)


def fragments_of(row: MultiplyAdd) -> Fragments | None:
    """Those of an instruction by its intrinsic; None where it is none on matrices, or not known here."""
    return next((found for kind in KINDS if (found := kind(row)) is not None), None)
