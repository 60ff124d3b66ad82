"""Loops of a thread over its part of what a group of threads shares."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tvm.ir import Expr

from dsc.lower.exprs import Dim, product, same
from dsc.targets.gpu.launch import Group, shared_out
from dsc.targets.tir.loops import Loops, when


def shared_sizes(sizes: Sequence[Dim], group: int) -> list[Dim]:
    """Sizes of a reduction's axes as so many threads share its places: the last one of whole groups, where these take
    no more steps for it. Then each step is of one row of a window, whose places are neighbours in memory."""
    known = [size for size in sizes if isinstance(size, int)]
    if group == 1 or len(known) != len(sizes) or not known:
        return list(sizes)
    *outer, last = known
    whole = math.ceil(last / group)
    return [*outer, whole * group] if math.prod(outer) * whole == math.ceil(math.prod(known) / group) else list(sizes)


@contextmanager
def shared_places(sizes: Sequence[Dim], group: Group, loops: Loops) -> Iterator[list[Expr]]:
    """A loop over the places of a reduction of these sizes that are a thread's: their indices."""
    shared = shared_sizes(sizes, group.threads)
    with shared_out(product(shared), group.threads, group.lane, loops) as place:
        places = loops.unravel(place, shared)
        inside = None if same(shared[-1], sizes[-1]) else places[-1] < loops.const(sizes[-1])
        with when(inside):
            yield places
