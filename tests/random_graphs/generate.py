"""A random graph from a seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.random_graphs import contractions, elementwise, motifs, movement, others
from tests.random_graphs.arrays import BOOL, FLOATS, INTEGERS
from tests.random_graphs.evaluate import Rejected
from tests.random_graphs.graph import RandomGraph

Step = Callable[[RandomGraph], None]
TABLE: dict[Step, int] = {**elementwise.TABLE, **movement.TABLE, **contractions.TABLE, **motifs.TABLE, **others.TABLE}
"""How often each is tried."""
_TRIES = 12


def generate(seed: int) -> RandomGraph:
    """Three to 25 nodes on one to three inputs; float32 in most, every type in some."""
    g = RandomGraph(seed)
    wanted = int(g.rng.choice([3, 4, 5, 6, 8, 10, 15, 22]))
    for _ in range(int(g.rng.integers(1, 4))):
        rank = int(g.rng.choice([0, 1, 2, 2, 3, 3, 4, 4, 4, 5]))
        g.input(_dtype(g), [g.dim() for _ in range(rank)])
    steps, weights = list(TABLE), np.array(list(TABLE.values()), float)
    failures = 0
    while g.node_count < wanted and failures < _TRIES * wanted:
        try:
            steps[int(g.rng.choice(len(steps), p=weights / weights.sum()))](g)
        except Rejected:
            failures += 1  # what a motif had begun stays
    return g


def _dtype(g: RandomGraph) -> np.dtype:
    draw = g.rng.random()
    if draw < 0.7:
        return np.dtype(np.float32)
    pool = FLOATS[1:] if draw < 0.8 else INTEGERS if draw < 0.95 else (BOOL,)
    return np.dtype(pool[int(g.rng.integers(len(pool)))])
