"""What warps fetch from memory when they load a factor: counted on a few tiles, lane by lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tvm import te, tirx

from dsc.lower.nominal import nominal, volume
from dsc.lower.stages import element_bytes
from dsc.targets.gpu.access import Access
from dsc.targets.gpu.contraction.factors import Factor
from dsc.targets.gpu.contraction.loading import PIECES, Loading
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.sectors import holding, touched, unraveled

DEPTH = 32
"""Of the tiles that are looked at, at least: as much as is ever loaded together."""
ENOUGH = 0.75
"""Of what is fetched, that is used: more is not worth conflicts between banks."""
TILES = 3
"""That are looked at, along rows and along depth."""


@dataclass(frozen=True)
class Way:
    """How a factor is loaded, and what that takes."""

    loading: Loading
    bytes: float
    """Of the pieces of memory that warps touch, for each element."""


def best(factor: Factor, memory: Sequence[te.Tensor], width: int, machine: Gpu) -> Way:
    """The way for tiles of that many rows (or columns) by which least is fetched; the first, which has no conflicts in
    shared memory, if it uses most of it. memory: what the factor is computed from."""
    ways = [Way(each, fetched(factor, each, width, machine)) for each in Loading.ways(factor, memory)]
    if factor.access is not None and element_bytes(factor.access.memory) >= ENOUGH * ways[0].bytes:
        return ways[0]
    return min(ways, key=lambda way: way.bytes)


def fetched(factor: Factor, loading: Loading, width: int, machine: Gpu) -> float:
    """Bytes of the pieces of memory that a warp touches for each element that it loads."""
    access = factor.access
    if access is None:
        return 4.0
    size = element_bytes(access.memory)
    depth = max(DEPTH, PIECES[-1] // size)
    across, k = loading.places(np.arange(width * depth // loading.vector).reshape(-1, machine.warp), width, depth)
    rows = _starts(factor, factor.side_axes, width)[:, None, None, None] + across
    depths = _starts(factor, factor.depth_axes, depth)[:, None, None] + k
    rows, depths = (each.reshape(-1, machine.warp) for each in np.broadcast_arrays(rows, depths))
    inside = (rows < _count(factor, factor.side_axes)) & (depths < _count(factor, factor.depth_axes))
    values = _indices(access, factor, rows, depths)
    active = holding([] if access.inside is None else [access.inside], values, inside)
    moved = touched(_positions(access, values) * size, size * loading.vector, active, machine.sector_bytes)
    return float(moved.sum()) * machine.sector_bytes / (int(inside.sum()) * loading.vector)


def _starts(factor: Factor, axes: range, size: int) -> np.ndarray:
    """Where some tiles begin."""
    tiles = -(-_count(factor, axes) // size)
    return np.unique(np.linspace(0, tiles - 1, TILES).astype(np.int64)) * size


def _count(factor: Factor, axes: range) -> int:
    return volume(factor.sizes[axis] for axis in axes)


def _indices(access: Access, factor: Factor, rows: np.ndarray, depths: np.ndarray) -> dict[tirx.Var, np.ndarray]:
    """By the variables of an access: the first of a batch."""
    found = dict.fromkeys(access.variables, np.zeros_like(rows))
    for axes, position in ((factor.side_axes, rows), (factor.depth_axes, depths)):
        indices = unraveled(position, [factor.sizes[axis] for axis in axes])
        found |= {access.variables[axis]: index for axis, index in zip(axes, indices, strict=True)}
    return found


def _positions(access: Access, values: dict[tirx.Var, np.ndarray]) -> np.ndarray:
    """In memory, in elements."""
    found = np.asarray(nominal(access.start))
    for variable, step in zip(access.variables, access.steps, strict=True):
        found = found + values[variable] * nominal(step)
    return found
