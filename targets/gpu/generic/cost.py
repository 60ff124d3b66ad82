"""What a launch of the generic kernel costs: its loads by how they lie across a warp, its arithmetic, its memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import te, tirx
from tvm.ir import Call, Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import dims
from dsc.lower.nominal import nominal, volume
from dsc.lower.stages import element_bytes
from dsc.targets.cpu.inline import Identity, Leaf, identity
from dsc.targets.gpu.access import ranges
from dsc.targets.gpu.elements import Elements, limits
from dsc.targets.gpu.estimate import Launch, seconds
from dsc.targets.gpu.generic.rows import Rows
from dsc.targets.gpu.generic.shares import Shares
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.strides import step
from dsc.targets.tir.loops import function

FUNCTION_CYCLES = 20
"""Instructions of an elementary function, mostly."""
SHUFFLE_CYCLES = 30
"""From one exchange of registers to the next."""
VECTOR_GAIN = 0.5
"""A vector is one load, but the rest is done for each of its elements: so much of the work is loads."""
MISSES = 0.5
"""Share of the memory that reads touch which is not near since an earlier one: windows overlap, products share
operands, and neighbours of a scattered element are read soon."""
SHARED_CYCLES = 4
"""Of a warp that reads what another one has left in shared memory."""
BARRIER_CYCLES = 60
"""A round of a reduction by way of shared memory."""


@dataclass(frozen=True)
class Visit:
    """What a warp does to compute an element in each of its threads."""

    load_cycles: float
    """Of the unit that loads: one for a load, or for every four pieces of memory that it touches."""
    operations: int
    """Of a thread."""
    bytes: Mapping[Identity, float]
    """Read from each tensor, by a thread."""
    l2_bytes: float
    """Of a warp: what its threads read that no other of them does, if none of it is near."""

    def cycles(self, machine: Gpu) -> float:
        """Of a multiprocessor."""
        return max(self.load_cycles, self.operations * machine.warp / lanes(machine))


def estimate(machine: Gpu, rows: Rows, memory: Sequence[te.Tensor], shares: Shares) -> float:
    """Seconds of one launch."""
    count, length, group = nominal(rows.count), nominal(rows.length), shares.group
    threads = count * group if rows.reduced else math.ceil(count * length / shares.vector)
    exchanging = count / shares.apart * max(1.0, group * shares.apart / machine.warp)
    cycles = exchanging * len(rows.reduced) * _exchange_cycles(shares, machine)
    read: dict[Identity, float] = {}
    loaded = 0.0
    for found in rows.reduced:
        terms = volume(axis.dom.extent for axis in found.tensor.op.reduce_axis)
        visit = _visit(machine, found.tensor, found.at, rows, memory, _neighbour(rows, shares, found.tensor, machine))
        cycles += count * math.ceil(terms / group) * group / machine.warp * visit.cycles(machine)
        loaded += MISSES * count * terms / machine.warp * visit.l2_bytes
        _add(read, visit, count * terms)
    for output in rows.outputs:
        elements = math.ceil(length / group) * group if output.walked else 1
        visit = _visit(machine, output.tensor, output.at, rows, memory, _neighbour(rows, shares, None, machine))
        cycles += count * elements / machine.warp * visit.cycles(machine) / shares.vector**VECTOR_GAIN
        loaded += MISSES * count * elements / machine.warp * visit.l2_bytes
        _add(read, visit, count * (length if output.walked else 1))
    blocks = max(1, math.ceil(threads / shares.threads))
    moved = sum(min(read.get(identity(tensor), 0.0), _bytes(tensor)) for tensor in memory)
    moved += sum(_bytes(output.tensor) for output in rows.outputs)
    return seconds(machine, Launch(blocks, shares.threads, cycles, moved, loaded))


def _add(read: dict[Identity, float], visit: Visit, times: int) -> None:
    """Notes what is read by `times` visits."""
    for source, size in visit.bytes.items():
        read[source] = read.get(source, 0.0) + size * times


def _exchange_cycles(shares: Shares, machine: Gpu) -> float:
    """Of each warp that takes part in a reduction."""
    if shares.group == 1:
        return 0.0
    inside = min(shares.group, machine.warp // shares.apart)
    warps = shares.group // inside
    across = BARRIER_CYCLES + SHARED_CYCLES * warps if warps > 1 else 0.0
    return SHUFFLE_CYCLES * math.log2(inside) + across


@dataclass(frozen=True)
class Neighbour:
    """How neighbouring threads differ."""

    index: tirx.Var
    """By one in this."""
    count: int
    """Those that do; the next ones are elsewhere."""


def _neighbour(rows: Rows, shares: Shares, reduced: te.Tensor | None, machine: Gpu) -> Neighbour | None:
    if shares.apart > 1:
        return Neighbour(rows.axes[rows.across[-1]], shares.apart)
    if shares.group > 1 and reduced is not None:
        *_, last = reduced.op.reduce_axis
        return Neighbour(last.var, min(shares.group, machine.warp))
    axes = rows.along if shares.group > 1 or not rows.reduced else rows.across
    count = min(shares.group, machine.warp) if shares.group > 1 else machine.warp
    return Neighbour(rows.axes[axes[-1]], count) if axes else None


def _visit(
    machine: Gpu,
    tensor: te.Tensor,
    at: Sequence[Expr],
    rows: Rows,
    memory: Sequence[te.Tensor],
    neighbour: Neighbour | None,
) -> Visit:
    """By following what an element is computed of; of a reduction, one of its terms."""
    load_cycles, l2_bytes, read = 0.0, 0.0, dict[Identity, float]()

    def reading(source: te.Tensor) -> Leaf:
        size = element_bytes(source)

        def leaf(indices: Sequence[Expr]) -> Expr:
            nonlocal load_cycles, l2_bytes
            pieces = _pieces(machine, indices, source, neighbour)
            load_cycles += max(1.0, pieces / 4)
            l2_bytes += pieces * machine.sector_bytes
            read[identity(source)] = read.get(identity(source), 0.0) + size
            return tirx.Var("loaded", str(source.dtype))

        return leaf

    leaves = {source: reading(source) for source in memory if identity(source) != identity(tensor)}
    leaves |= {r.tensor: _free(r.tensor) for r in rows.reduced if identity(r.tensor) != identity(tensor)}
    with function() as made:
        known, stage = ranges(rows.axes, rows.shape), tensor.op
        elements = Elements(leaves, known)
        if isinstance(stage, te.ComputeOp) and stage.reduce_axis:
            limits(known, stage.reduce_axis, [axis.var for axis in stage.reduce_axis])
            T.evaluate(elements.source(stage, at, [axis.var for axis in stage.reduce_axis]))
        else:
            T.evaluate(elements.at(tensor, at))
    return Visit(load_cycles, operations(made.get()), read, l2_bytes)


def _pieces(machine: Gpu, indices: Sequence[Expr], source: te.Tensor, neighbour: Neighbour | None) -> float:
    """Of memory, that a warp touches whose threads read `source` at `indices`."""
    apart = 0 if neighbour is None else step(indices, dims(source.shape), neighbour.index)
    size = element_bytes(source)
    if apart is None or neighbour is None:
        return machine.warp if apart is None else size / machine.sector_bytes
    if apart == 0:  # the same for all, and likely so for the next read
        return machine.warp / neighbour.count * size / machine.sector_bytes
    together = math.ceil(neighbour.count * abs(apart) * size / machine.sector_bytes)
    return machine.warp / neighbour.count * min(neighbour.count, together)


def _free(tensor: te.Tensor) -> Leaf:
    return lambda _: tirx.Var("reduced", str(tensor.dtype))


def operations(func: tirx.PrimFunc) -> int:
    """Instructions of a thread, without loads and stores."""
    count = 0

    def arithmetic(node: Expr) -> None:
        nonlocal count
        count += 1

    def call(node: Call) -> None:
        nonlocal count
        count += FUNCTION_CYCLES if str(getattr(node.op, "name", "")).startswith("dsc.") else 1

    kinds = (tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Max, tirx.Min, tirx.Select, tirx.FloorDiv, tirx.FloorMod)
    tvm_ffi.structural_walk(func.body, [(kinds, arithmetic), (Call, call)])
    return max(1, count)


def _bytes(tensor: te.Tensor) -> float:
    return volume(tensor.shape) * element_bytes(tensor)


def lanes(machine: Gpu) -> float:
    """Multiply-adds of float32 per cycle."""
    return machine.peak() / machine.frequency / 2
