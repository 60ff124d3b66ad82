"""The threads of a launch's warps, by the indices that each has: some warps and steps stand for all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tvm import te, tirx
from tvm.ir import Expr

from dsc.lower.exprs import Dim, dims
from dsc.lower.nominal import nominal
from dsc.targets.gpu.generic.places import shared_sizes
from dsc.targets.gpu.generic.rows import Rows
from dsc.targets.gpu.generic.shares import Shares
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.sectors import evaluated, holding, sampled, touched, unraveled, wanted


@dataclass(frozen=True, eq=False)
class Lanes:
    """What the lanes of some warps are at, each in some step."""

    values: Mapping[tirx.Var, np.ndarray]
    """The indices of axes, ``[samples, lanes]``."""
    active: np.ndarray
    """Those that have an element there."""
    steps: int
    """Of all warps together, each of which goes like one of the samples."""
    in_turn: int
    """Of each thread, one after the other."""

    def sectors(
        self, place: Dim, element_bytes: int, machine: Gpu, count: int = 1, conditions: Sequence[Expr] = ()
    ) -> tuple[float, float]:
        """Pieces of memory that a warp touches in a step, on average, where each lane accesses `count` elements; and
        those that it would if these lay side by side.

        place: where the first of them lies, in elements, in terms of `values`. Only lanes for which all `conditions`
        hold go there.
        """
        first = np.broadcast_to(evaluated(place, self.values) * element_bytes, self.active.shape)
        accesses = first, element_bytes * count, holding(conditions, self.values, self.active), machine.sector_bytes
        return float(touched(*accesses).mean()), float(wanted(*accesses).mean())


def of_reduction(rows: Rows, shares: Shares, reduced: te.Tensor, machine: Gpu) -> Lanes:
    """Those that add up a reduction of their rows."""
    axes = reduced.op.reduce_axis
    sizes = dims(axis.dom.extent for axis in axes)
    shared = shared_sizes(sizes, shares.group)
    terms = math.prod(map(nominal, shared))
    in_turn = math.ceil(terms / shares.group)
    thread, step, steps = _sampled(_threads(rows, shares), in_turn, machine)
    place = step * shares.group + _lane(thread, shares)
    walked = unraveled(place, shared)
    inside = (place < terms) & (walked[-1] < nominal(sizes[-1]))
    values = {axis.var: index + nominal(axis.dom.min) for axis, index in zip(axes, walked, strict=True)}
    row = _row(thread, shares)
    return Lanes(_indices(rows, row) | values, inside & (row < nominal(rows.count)), steps, in_turn)


def of_elements(rows: Rows, shares: Shares, *, walked: bool, machine: Gpu) -> Lanes:
    """Those that compute the elements of their rows, or what there is once for each row: of vectors, their first."""
    if not rows.reduced:
        return _of_vectors(rows, shares, machine)
    length = nominal(rows.length) if walked else 1
    in_turn = math.ceil(length / shares.group)
    thread, step, steps = _sampled(_threads(rows, shares), in_turn, machine)
    place, row = step * shares.group + _lane(thread, shares), _row(thread, shares)
    return Lanes(_indices(rows, row, place), (place < length) & (row < nominal(rows.count)), steps, in_turn)


def _of_vectors(rows: Rows, shares: Shares, machine: Gpu) -> Lanes:
    pieces = math.ceil(nominal(rows.length) / shares.vector)
    thread, _, steps = _sampled(pieces, 1, machine)
    return Lanes(_indices(rows, np.asarray(0), thread * shares.vector), thread < pieces, steps, 1)


def _sampled(threads: int, steps: int, machine: Gpu) -> tuple[np.ndarray, np.ndarray, int]:
    """The threads of some warps, ``[samples, lanes]``, the step that each is at, and how many steps all warps take."""
    warps, steps = max(1, math.ceil(threads / machine.warp)), max(1, steps)  # nothing at all is one warp without a lane
    chosen = sampled(warps * steps)
    thread = chosen[:, None] // steps * machine.warp + np.arange(machine.warp)
    return thread, np.broadcast_to(chosen[:, None] % steps, thread.shape), warps * steps


def _threads(rows: Rows, shares: Shares) -> int:
    bundles = math.ceil(nominal(rows.count) / shares.vector)
    return math.ceil(bundles * shares.group / shares.threads) * shares.threads


def _lane(thread: np.ndarray, shares: Shares) -> np.ndarray:
    """Of a thread, in its group: as `Group` has it."""
    return thread // shares.apart % shares.group


def _row(thread: np.ndarray, shares: Shares) -> np.ndarray:
    """Of a thread, the first of its rows."""
    together = shares.group * shares.apart
    return np.asarray(thread // together * shares.apart + thread % shares.apart) * shares.vector


def _indices(rows: Rows, row: np.ndarray, place: np.ndarray | None = None) -> dict[tirx.Var, np.ndarray]:
    """Of an element of a row, or of what there is once for it; 0 along axes of one element."""
    found = dict.fromkeys(rows.axes, np.asarray(0))
    for axes, position in ((rows.across, row), (rows.along, place)):
        if position is not None:
            indices = unraveled(position, [rows.shape[axis] for axis in axes])
            found |= {rows.axes[axis]: index for axis, index in zip(axes, indices, strict=True)}
    return found
