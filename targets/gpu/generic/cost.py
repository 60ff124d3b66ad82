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
from dsc.lower.tensors import ravel
from dsc.targets.cpu.inline import Identity, Leaf, identity
from dsc.targets.gpu.access import ranges
from dsc.targets.gpu.elements import Elements, limits
from dsc.targets.gpu.estimate import IN_FLIGHT_BYTES, Launch
from dsc.targets.gpu.generic.lanes import Lanes, of_elements, of_reduction
from dsc.targets.gpu.generic.rows import Output, Rows
from dsc.targets.gpu.generic.shares import Shares
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.strides import step
from dsc.targets.tir.loops import function

FUNCTION_CYCLES = 20
"""Instructions of an elementary function, mostly."""
SHUFFLE_CYCLES = 30
"""From one exchange of registers to the next."""
VECTOR_GAIN = 0.5
"""Addresses are computed once for a vector, the rest for each of its elements: what is done for a vector of so many
elements grows by this power."""
MISSES = 0.5
"""Share of the memory that reads touch which is not near since an earlier one: windows overlap, products share
operands, and neighbours of a scattered element are read soon."""
SHARED_CYCLES = 4
"""Of a warp that reads what another one has left in shared memory."""
AHEAD = 4
"""Steps of a reduction whose loads a thread asks for before it waits: compilers unroll long loops by about as many."""
AHEAD_IN_BRANCHES = 1.8
"""The same of loads under a condition: an H100 takes 44 us for a 3x3 pool that loads halves one by one inside of the
image, and 19 for the memory of it."""
PORT_BYTES_PER_CYCLE = 128
"""Of the pieces of memory that warps touch, that pass through the cache of a multiprocessor."""
BARRIER_CYCLES = 60
"""A round of a reduction by way of shared memory."""


@dataclass(frozen=True)
class Visit:
    """What a warp does to compute an element in each of its threads."""

    load_cycles: float
    """Of the unit that loads and stores: one for an instruction, or for what passes through it in a cycle."""
    operations: int
    """Of a thread."""
    bytes: Mapping[Identity, float]
    """Read from each tensor, by a thread."""
    sectors: float
    """Pieces of memory that its loads touch, each load for itself."""
    wanted: float
    """Those if what each asks for lay side by side."""
    far_sectors: float
    """Those that are not near since the visit before."""
    ahead: float
    """Bytes of its widest load, in as many steps as it asks for before it waits."""

    def waits(self, times: int) -> float:
        """Of a thread that does this so many times, and has asked for some of it at once: of vectors for as many."""
        asked = sum(self.bytes.values())
        return math.ceil(times * asked / max(IN_FLIGHT_BYTES, asked))

    def cycles(self, machine: Gpu, stored: float = 0.0, vector: int = 1) -> float:
        """Of a multiprocessor, where pieces of memory are `stored` too, and each thread computes a `vector`."""
        operations = self.operations * math.pow(vector, VECTOR_GAIN) * machine.warp / lanes(machine)
        return max(self.load_cycles + (_port_cycles(stored, machine) if stored else 0.0), operations)


@dataclass(frozen=True)
class Traffic:
    """What all warps of a launch do."""

    cycles: float
    """Of a multiprocessor."""
    bytes: float
    """Read from memory, each once, and written."""
    loaded: float
    """Pieces of memory that loads touch, each for itself: as the simulator counts them."""
    far: float
    """Those that are not near since the visit before."""
    stored: float
    """Pieces of memory that stores touch."""
    wanted: float
    """Pieces that loads and stores would touch if what each asks for lay side by side."""
    waits: float
    """Of a thread for memory, one after the other."""
    exchange_cycles: float
    """Of a thread, until it has what the others of its group have of all reductions."""
    ahead: float
    """Bytes that a thread asks for before it waits, in the reduction in which it asks for most; by elements."""

    @property
    def share(self) -> float:
        """Of what is moved, that is wanted."""
        return self.wanted / (self.loaded + self.stored)


def launch_of(rows: Rows, shares: Shares, found: Traffic, machine: Gpu) -> Launch:
    """What there is to estimate."""
    count, length = nominal(rows.count), nominal(rows.length)
    threads = math.ceil((count * shares.group if rows.reduced else count * length) / shares.vector)
    blocks = max(1, math.ceil(threads / shares.threads))
    l2_bytes = (MISSES * found.far + found.stored) * machine.sector_bytes
    asked = found.ahead if rows.reduced else max(element_bytes(output.tensor) for output in rows.outputs)
    asked = min(IN_FLIGHT_BYTES, shares.vector * asked)
    asking = min(1.0, threads / (blocks * shares.threads))  # of the threads: those beyond the last row ask for nothing
    waits = found.waits if rows.reduced else 0
    return Launch(
        blocks, shares.threads, found.cycles, found.bytes, l2_bytes, in_flight_bytes=asked * asking, waits=waits
    )


def traffic(machine: Gpu, rows: Rows, memory: Sequence[te.Tensor], shares: Shares) -> Traffic:
    """What the warps of a launch do, all together."""
    count, group = nominal(rows.count), shares.group
    exchanging = count / shares.vector / shares.apart * max(1.0, group * shares.apart / machine.warp)
    exchange_cycles = len(rows.reduced) * shares.vector * _exchange_cycles(shares, machine)
    cycles = exchanging * exchange_cycles
    read: dict[Identity, float] = {}
    loaded, far, stored, wanted, waits, ahead = 0.0, 0.0, 0.0, 0.0, 0.0, 1.0
    for found in rows.reduced:
        warps = of_reduction(rows, shares, found.tensor, machine)
        visit = _visit(machine, found.tensor, found.at, rows, memory, warps, shares.vector)
        cycles += warps.steps * visit.cycles(machine, vector=shares.vector)
        loaded, far = loaded + warps.steps * visit.sectors, far + warps.steps * visit.far_sectors
        wanted, waits = wanted + warps.steps * visit.wanted, waits + visit.waits(warps.in_turn)
        ahead = max(ahead, visit.ahead)
        _add(read, visit, count * volume(axis.dom.extent for axis in found.tensor.op.reduce_axis))
    for output in rows.outputs:
        warps = of_elements(rows, shares, walked=output.walked, machine=machine)
        visit = _visit(machine, output.tensor, output.at, rows, memory, warps, shares.vector)
        written, ideally = _stored(machine, output, warps, shares.vector)
        cycles += warps.steps * visit.cycles(machine, written, shares.vector)
        loaded, far = loaded + warps.steps * visit.sectors, far + warps.steps * visit.far_sectors
        stored, wanted = stored + warps.steps * written, wanted + warps.steps * (visit.wanted + ideally)
        waits += visit.waits(warps.in_turn)
        _add(read, visit, count * (nominal(rows.length) if output.walked else 1))
    moved = sum(min(read.get(identity(tensor), 0.0), _bytes(tensor)) for tensor in memory)
    moved += sum(_bytes(output.tensor) for output in rows.outputs)
    return Traffic(cycles, moved, loaded, far, stored, wanted, waits, exchange_cycles, ahead)


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


def _visit(
    machine: Gpu,
    tensor: te.Tensor,
    at: Sequence[Expr],
    rows: Rows,
    memory: Sequence[te.Tensor],
    warps: Lanes,
    vector: int = 1,
) -> Visit:
    """By following what an element is computed of; of a reduction, one of its terms.

    vector: elements side by side that a thread computes; what lies in memory as they do is loaded at once.
    """
    load_cycles, sectors, wanted, far, ahead, read = 0.0, 0.0, 0.0, 0.0, 0.0, dict[Identity, float]()
    numbered = (rows.across if rows.reduced else rows.along) or rows.along
    neighbour = rows.axes[numbered[-1]] if numbered else tirx.Var("nothing", "int32")

    def reading(source: te.Tensor) -> Leaf:
        size = element_bytes(source)

        def leaf(indices: Sequence[Expr]) -> Expr:
            nonlocal load_cycles, sectors, wanted, far, ahead
            place = ravel(indices, dims(source.shape))
            together = vector if step(indices, dims(source.shape), neighbour) == 1 else 1
            count, ideally = warps.sectors(place, size, machine, together, elements.conditions)
            load_cycles += _port_cycles(count, machine)
            ahead = max(ahead, size * (AHEAD_IN_BRANCHES if elements.conditions else AHEAD))
            sectors, wanted = sectors + count, wanted + ideally
            far += count if count > 1 else size / machine.sector_bytes  # the same for all: likely near for the next
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
    return Visit(load_cycles, operations(made.get()), read, sectors, wanted, far, ahead)


def _stored(machine: Gpu, output: Output, warps: Lanes, vector: int) -> tuple[float, float]:
    """Pieces of memory that a warp writes to, for an element in each of its threads, and those at best."""
    place = ravel(output.at, dims(output.tensor.shape))
    return warps.sectors(place, element_bytes(output.tensor), machine, vector)


def _port_cycles(sectors: float, machine: Gpu) -> float:
    """Of the unit that loads and stores."""
    return max(1.0, sectors * machine.sector_bytes / PORT_BYTES_PER_CYCLE)


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
