"""Products that skip inputs of 0: bit for bit those of `cpu.gemm`, on guarded memory, at ragged sizes, at any point."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
import pytest
import tvm_ffi

from dsc.ir import Graph, onnx, set_expected_zeros, tensor
from dsc.lower.workload import Workload
from dsc.targets import Refusal
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.gemm import Gemm
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.sparse_inputs import SparseInputs
from dsc.targets.cpu.sparse_inputs.space import SparseInputsSpace
from dsc.targets.kernel import Implementation
from tests.guard_pages import run_guarded
from tests.kernels import compiled_library, machine, with_lane_operands
from tests.targets.assembly import X86
from tests.targets.regions import one_fusion

SEED = random.SystemRandom().randrange(1 << 30)
MACHINES: dict[str, Cpu] = {"host": machine(), "AVX2": machine("x86:haswell"), "lanes": with_lane_operands(4)}


@dataclass(frozen=True)
class Case:
    """``relu(x @ w + b)``; x of ``[*rows, depth]``."""

    rows: tuple[int | str, ...]
    depth: int
    columns: int
    zeros: float = 0.5
    transposed: bool = False
    """Whether the product is a Gemm with its weight transposed."""
    scaled: bool = False
    """Whether the factor is computed: twice x."""

    def arrays(self, draw: np.random.Generator) -> list[np.ndarray]:
        """x, w and b."""
        x = draw.standard_normal((*self.rows, self.depth), np.float32)
        x[draw.random(x.shape) < self.zeros] = 0
        weight = draw.standard_normal((self.depth, self.columns), np.float32)
        weight = np.ascontiguousarray(weight.T) if self.transposed else weight
        return [x, weight, draw.standard_normal(self.columns, np.float32)]

    def workload(self, expected: float = 0.5) -> Workload:
        """Of one region."""
        rows = [-1 if isinstance(d, str) else d for d in self.rows]
        graph = Graph.build([("x", tensor(np.float32, [*rows, self.depth]))])
        shape = (self.columns, self.depth) if self.transposed else (self.depth, self.columns)
        weight = graph.weight_op(graph.weights.add(np.ones(shape, np.float32)))
        bias = graph.weight_op(graph.weights.add(np.ones(self.columns, np.float32)))
        x, before = graph.inputs[0], []
        if self.scaled:
            before = [onnx.Add.make(x, x)]
            x = before[0].results[0]
        product = onnx.Gemm.make(x, weight.out, transB=1) if self.transposed else onnx.MatMul.make(x, weight.out)
        total = onnx.Add.make(product.results[0], bias.out)
        end = onnx.Relu.make(total.results[0])
        body = [*before, product, total, end]
        graph.body.add_ops([weight, bias, *body])
        graph.set_outputs([("y", end.results[0])])
        fusion = one_fusion(graph, body)
        if expected:
            set_expected_zeros(fusion, expected)
        return Workload.of(fusion)


CASES = [
    Case((1,), 300, 200),
    Case((1,), 64, 1000, zeros=0.9),
    Case((1,), 50, 33, zeros=0.0),
    Case((1,), 50, 33, zeros=1.0),
    Case((2,), 31, 70),
    Case((3,), 40, 129, zeros=0.8),
    Case((2, 2), 24, 64, zeros=0.7),
    Case((1, 1, 4), 17, 5),
    Case((1,), 1, 1),
    Case((1,), 7, 2, zeros=0.0),
    Case((1,), 9, 5000),
    Case((2,), 65, 48, transposed=True),
    Case((1,), 80, 96, scaled=True),
]


def space_of(case: Case, cpu: Cpu) -> SparseInputsSpace:
    space = SparseInputs().match(case.workload(), cpu)
    assert not isinstance(space, Refusal), f"{case}: {space.reason}"
    return space


def dense(case: Case, cpu: Cpu) -> Implementation:
    """By `cpu.gemm`, of the same workload."""
    space = Gemm().match(case.workload(), cpu)
    assert not isinstance(space, Refusal)
    return space.build(space.points()[0])


def run(
    function: tvm_ffi.Function, made: Implementation, arrays: list[np.ndarray], shape: tuple[int, ...], end: bool
) -> np.ndarray:
    x, weight, bias = arrays
    ((position, packing),) = made.packings.items()
    inputs = [x, bias]
    inputs[position:position] = packing.apply(weight)
    return run_guarded(function, inputs, np.full(shape, np.nan, np.float32), end)


@pytest.mark.parametrize("name", MACHINES)
def test_the_bits_are_those_of_the_dense_product(name: str) -> None:
    """Also where inputs are infinite, no numbers, -0.0 or subnormal."""
    cpu, draw, order = MACHINES[name], np.random.default_rng(SEED), random.Random(SEED)
    print(f"seed {SEED}", flush=True)
    made: list[tuple[Case, object, Implementation]] = []
    for case in CASES:
        space = space_of(case, cpu)
        best, other = min(space.points(), key=space.estimate), order.choice(space.points())
        made += [(case, point, space.build(point)) for point in dict.fromkeys((best, other))]
        made.append((case, "ahead", space.build(replace(other, asks_ahead=not other.asks_ahead))))
    wholes = {case: dense(case, cpu) for case in CASES}
    functions = {f"k{i}": each.func for i, (*_, each) in enumerate(made)}
    functions |= {f"d{i}": each.func for i, each in enumerate(wholes.values())}
    library = compiled_library(functions, CpuBackend(cpu))
    for i, (case, point, implementation) in enumerate(made):
        arrays = case.arrays(draw)
        x = arrays[0].reshape(-1)
        if i % 2:
            x[draw.integers(0, x.size, 3)] = draw.choice([np.inf, np.nan, -0.0, 1e-40], 3)
        shape = (*case.rows, case.columns)
        print(case, point, flush=True)  # seen when the process dies
        expected = run(library[f"d{CASES.index(case)}"], wholes[case], arrays, shape, end=i % 2 == 0)
        found = run(library[f"k{i}"], implementation, arrays, shape, end=i % 2 == 0)
        np.testing.assert_array_equal(found, expected)


def test_against_float64() -> None:
    cpu, case = machine(), Case((2,), 500, 300)
    space = space_of(case, cpu)
    made = space.build(min(space.points(), key=space.estimate))
    x, weight, bias = arrays = case.arrays(np.random.default_rng(SEED))
    found = run(compiled_library({"k": made.func}, CpuBackend(cpu))["k"], made, arrays, (2, 300), end=True)
    wide = [array.astype(np.float64) for array in (x, weight, bias)]
    bound = (np.abs(wide[0]) @ np.abs(wide[1]) + np.abs(wide[2])) * 2.0**-23 * 8  # of sums in float32
    assert np.all(np.abs(found - np.maximum(wide[0] @ wide[1] + wide[2], 0)) <= bound)


@pytest.mark.parametrize("rows", [1, 4])
def test_sums_are_in_registers_while_a_group_is_added(rows: int) -> None:
    cpu = machine("x86:znver4")
    space, backend = space_of(Case((rows,), 512, 512), cpu), CpuBackend(cpu)
    point = min(space.points(), key=space.estimate)
    code = backend.assembly(compiled_library({"kernel": space.build(point).func}, backend))
    loops = X86.innermost_loops(code, "vfmadd231ps")
    assert loops
    assert not any(X86.on_stack(loop) for loop in loops)


def test_the_more_zeros_the_less_time_and_none_is_no_gain() -> None:
    cpu, whole = machine("x86:znver4"), Case((1,), 4096, 4096)
    gemm = Gemm().match(whole.workload(), cpu)
    assert not isinstance(gemm, Refusal)
    least = min(map(gemm.estimate, gemm.points()))
    found = []
    for share in (0.9, 0.5, 1 / 256):
        space = SparseInputs().match(whole.workload(share), cpu)
        assert not isinstance(space, Refusal)
        found.append(min(map(space.estimate, space.points())))
    assert found[0] < 0.3 * least
    assert found[0] < found[1] < 0.7 * least
    assert found[2] > least


REFUSED = {
    "no inputs that are expected to be 0": Case((1,), 64, 64).workload(expected=0),
    "5 rows: few inputs are 0 in all of them": Case((5,), 64, 64).workload(),
    "a number of rows that is not known": Case(("n",), 64, 64).workload(),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_refused(reason: str) -> None:
    found = SparseInputs().match(REFUSED[reason], machine())
    assert isinstance(found, Refusal)
    assert found.reason == reason
