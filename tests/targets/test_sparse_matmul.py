"""Products by sparse weights: against float64 on guarded memory, at ragged sizes, in every pattern, at any point."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
import pytest

from dsc.ir import Graph, SparseAttr, WeightOp, onnx, tensor
from dsc.ir.types import with_encoding
from dsc.lower.workload import Workload
from dsc.sparsity import Pattern, matrix_of, weight_of
from dsc.targets import Refusal, target
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.gemm import Gemm
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.sparse import SparseMatmul
from dsc.targets.cpu.sparse.entries import Entries, steps_of
from dsc.targets.cpu.sparse.matmul_space import SparseMatmulSpace
from dsc.targets.kernel import ArrayType
from tests.guard_pages import run_guarded
from tests.kernels import compiled_library, machine, with_lane_operands
from tests.targets.assembly import X86
from tests.targets.regions import one_fusion

SEED = random.SystemRandom().randrange(1 << 30)


@dataclass(frozen=True)
class Case:
    """``relu(x @ w + b)``; x of ``[*rows, depth]``."""

    rows: tuple[int | str, ...]
    depth: int
    columns: int
    pattern: str = "4x1"
    density: float = 0.2
    scaled: bool = False
    """Whether the factor is computed: twice x."""

    @property
    def encoding(self) -> SparseAttr:
        """What the weight's type says: as many blocks are occupied, whatever the seed."""
        pattern, weight = Pattern.parse(self.pattern), self.arrays(np.random.default_rng(0))[1]
        return SparseAttr.of(pattern, 1, pattern.occupied(matrix_of(weight, 1)).mean())

    def arrays(self, draw: np.random.Generator) -> list[np.ndarray]:
        """x, with 5 for rows of a free number, w and b."""
        mask = Pattern.parse(self.pattern).keep(draw.random((self.columns, self.depth)), self.density)
        weight = draw.standard_normal((self.depth, self.columns), np.float32)
        weight *= weight_of(mask, 1, weight.shape)
        x = draw.standard_normal((*(5 if isinstance(d, str) else d for d in self.rows), self.depth), np.float32)
        return [x, weight, draw.standard_normal(self.columns, np.float32)]

    def workload(self) -> Workload:
        """Of one region."""
        _, weight, bias = self.arrays(np.random.default_rng(1))
        rows = [-1 if isinstance(d, str) else d for d in self.rows]
        graph = Graph.build([("x", tensor(np.float32, [*rows, self.depth]))])
        type_ = with_encoding(tensor(np.float32, weight.shape), self.encoding)
        made = [WeightOp(graph.weights.add(weight), type_), graph.weight_op(graph.weights.add(bias))]
        x, before = graph.inputs[0], []
        if self.scaled:
            before = [onnx.Add.make(x, x)]
            x = before[0].results[0]
        product = onnx.MatMul.make(x, made[0].out)
        total = onnx.Add.make(product.results[0], made[1].out)
        end = onnx.Relu.make(total.results[0])
        body = [*before, product, total, end]
        graph.body.add_ops([*made, *body])
        graph.set_outputs([("y", end.results[0])])
        return Workload.of(one_fusion(graph, body))

    def exact(self, arrays: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """In float64, and a bound of what float32 may be off by."""
        x, weight, bias = (array.astype(np.float64) for array in arrays)
        x = 2 * x if self.scaled else x
        bound = np.abs(x) @ np.abs(weight) + np.abs(bias)
        return np.maximum(x @ weight + bias, 0), bound * 2.0**-23 * 8


CASES = [
    Case((128,), 64, 48),
    Case((1,), 100, 33, "unstructured"),
    Case((17,), 16, 4, "4x1", 0.5),
    Case((33,), 31, 50, "16x1"),
    Case((2, 3, 5), 40, 7, "2x1"),
    Case((20,), 24, 40, "1x4"),
    Case((20,), 50, 40, "4x4"),
    Case((50,), 48, 20, "2:4", 0.5),
    Case((50,), 48, 20, "4x2:4", 0.5),
    Case(("n",), 72, 20),
    Case((4, "n"), 72, 20),
    Case((9,), 1, 2, "unstructured", 1.0),
    Case((40,), 64, 32, "4x1", 0.0),
    Case((40,), 64, 32, "4x1", 1.0),
    Case((19,), 64, 32, scaled=True),
    Case((200,), 300, 5),
]
MACHINES: dict[str, Cpu] = {"host": machine(), "AVX2": machine("x86:haswell"), "lanes": with_lane_operands(4)}


def space_of(case: Case, cpu: Cpu) -> SparseMatmulSpace:
    space = SparseMatmul().match(case.workload(), cpu)
    assert not isinstance(space, Refusal), f"{case}: {space.reason}"
    return space


@pytest.mark.parametrize("name", MACHINES)
def test_against_float64(name: str) -> None:
    cpu, draw, order = MACHINES[name], np.random.default_rng(SEED), random.Random(SEED)
    print(f"seed {SEED}", flush=True)
    made = []
    for case in CASES:
        space = space_of(case, cpu)
        best, other = min(space.points(), key=space.estimate), order.choice(space.points())
        made += [(case, point, space.build(point)) for point in dict.fromkeys((best, other))]
    library = compiled_library({f"k{i}": impl.func for i, (*_, impl) in enumerate(made)}, CpuBackend(cpu))
    for i, (case, point, implementation) in enumerate(made):
        x, weight, bias = arrays = case.arrays(draw)
        expected, bound = case.exact(arrays)
        (position,) = implementation.packings
        inputs = [x, bias]
        inputs[position:position] = implementation.packings[position].apply(weight)
        print(case, point, flush=True)  # seen when the process dies
        found = run_guarded(library[f"k{i}"], inputs, np.full(expected.shape, np.nan, np.float32), end=i % 2 == 0)
        off = ~(np.abs(found - expected) <= bound)
        assert not off.any(), f"{name} {case} {point}: {np.argwhere(off)[:3]}"


def test_what_is_summed_is_in_registers() -> None:
    """The innermost loop loads inputs, multiplies and adds; it stores nothing."""
    cpu = machine("x86:znver4")
    space = space_of(Case((128,), 512, 512), cpu)
    backend = CpuBackend(cpu)
    point = min(space.points(), key=space.estimate)
    code = backend.assembly(compiled_library({"kernel": space.build(point).func}, backend))
    loops = X86.innermost_loops(code, "vfmadd231ps")
    assert loops
    assert not any(X86.on_stack(loop) for loop in loops)


def test_dense_weights_are_refused() -> None:
    graph = Graph.build([("x", tensor(np.float32, (4, 8)))])
    weight = graph.weight_op(graph.weights.add(np.ones((8, 4), np.float32)))
    product = onnx.MatMul.make(graph.inputs[0], weight.out)
    graph.body.add_ops([weight, product])
    graph.set_outputs([("y", product.results[0])])
    refused = SparseMatmul().match(Workload.of(one_fusion(graph, [product])), machine())
    assert refused == Refusal("no weight with a pattern of zeros")


def test_blocks_of_inputs_are_refused() -> None:
    case = Case((4,), 8, 8)
    workload = case.workload()
    operand = next(o for o in workload.operands if o.encoding is not None)
    object.__setattr__(operand, "encoding", SparseAttr.of(Pattern(4), 0, 0.1))
    refused = SparseMatmul().match(workload, machine())
    assert refused == Refusal("zeros are in blocks of inputs")


@pytest.mark.parametrize(("density", "sparse"), [(0.1, True), (1.0, False)])
def test_zeros_are_skipped_where_that_pays(density: float, sparse: bool) -> None:
    """By estimate: where nine tenths are zeros, and where none is."""
    workload, cpu = Case((128,), 768, 768, density=density).workload(), target("x86:znver4").machine
    assert isinstance(cpu, Cpu)
    best = {}
    for kernel in (SparseMatmul(), Gemm()):
        space = kernel.match(workload, cpu)
        assert not isinstance(space, Refusal)
        best[kernel.name] = min(map(space.estimate, space.points()))
    assert (best["cpu.sparse_matmul"] < best["cpu.gemm"]) is sparse


def test_entries_are_stored_group_by_group() -> None:
    weight = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 0], [3, 4, 0], [0, 0, 5]], np.float32).T  # [depth 3, outputs 5]
    packing = Entries(outputs=2, panel=4, axis=1, steps=6, step=10, taps=(0,))
    starts, offsets, values = packing.apply(weight)
    np.testing.assert_array_equal(starts, [0, 2, 4, 5, 5])  # outputs 0 and 1, 2 and 3, 4 alone, none
    np.testing.assert_array_equal(offsets[:5, 0], [0, 10, 0, 10, 20])
    np.testing.assert_array_equal(values[:5], [[1, 0], [0, 2], [0, 3], [0, 4], [5, 0]])
    for array, type_ in zip((starts, offsets, values), packing.arrays(ArrayType(weight.shape, "float32")), strict=True):
        assert (array.shape, str(array.dtype)) == (type_.shape, type_.dtype)


def test_entries_of_four_inputs_are_stored_whole() -> None:
    weight = np.zeros((6, 3), np.int8)  # [depth, outputs]
    weight[1, 0], weight[5, 0], weight[2:4, 2] = 1, 2, 3
    packing = Entries(outputs=1, panel=4, axis=1, steps=4, step=64, taps=(0,), k=4, depth=4, sums=True)
    starts, offsets, values, sums = packing.apply(weight)
    np.testing.assert_array_equal(starts, [0, 2, 2, 3, 3])
    np.testing.assert_array_equal(offsets[:3], [[0], [64], [0]])
    np.testing.assert_array_equal(values[:3], [[0, 1, 0, 0], [0, 2, 0, 0], [0, 0, 3, 3]])
    np.testing.assert_array_equal(sums, [3, 0, 6])
    for array, type_ in zip((starts, offsets, values), packing.arrays(ArrayType(weight.shape, "int8")), strict=False):
        assert (array.shape, str(array.dtype)) == (type_.shape, type_.dtype)


def test_more_entries_than_the_type_says_are_an_error() -> None:
    with pytest.raises(ValueError, match="3 steps, where there is room for 2"):
        Entries(1, 1, 0, 2, 1, (0,)).apply(np.ones((1, 3), np.float32))


@pytest.mark.parametrize("text", ["unstructured", "4x1", "16x1", "1x4", "4x4", "2x16"])
@pytest.mark.parametrize("shape", [(64, 48), (7, 9), (33, 50)])
def test_there_is_room_for_what_the_type_says(text: str, shape: tuple[int, int]) -> None:
    """At the density that the type tells exactly, whatever blocks are ragged."""
    draw, pattern = np.random.default_rng(), Pattern.parse(text)
    for outputs in {1, min(4, pattern.outputs)}:
        mask = pattern.keep(draw.random(shape), 0.3)
        occupied = pattern.occupied(mask)
        encoding = SparseAttr.of(pattern, 0, occupied.mean())
        packing = Entries(outputs, 4, 0, steps_of(encoding, outputs, shape), 1, (0,))
        packing.apply(mask.astype(np.float32))
        for depth in {1, math.gcd(4, pattern.depth)} - {2}:
            steps = steps_of(encoding, outputs, shape, 4, depth)
            Entries(outputs, 4, 0, steps, 1, (0,), 4, depth).apply(mask.astype(np.int8))
