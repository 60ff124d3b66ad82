"""Products by chosen matrices: against float64 on guarded memory, at ragged sizes, whatever is chosen, at any point."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest

from dsc.ir import Graph, onnx, tensor
from dsc.lower.workload import Workload
from dsc.targets import Refusal
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.chosen_weights import ChosenWeights
from dsc.targets.cpu.chosen_weights.space import ChosenWeightsSpace
from dsc.targets.cpu.machine import Cpu
from tests.guard_pages import run_guarded
from tests.kernels import compiled_library, machine, with_lane_operands
from tests.targets.assembly import X86
from tests.targets.regions import one_fusion

SEED = random.SystemRandom().randrange(1 << 30)
MACHINES: dict[str, Cpu] = {"host": machine(), "AVX2": machine("x86:haswell"), "lanes": with_lane_operands(4)}


@dataclass(frozen=True)
class Case:
    """``relu(x[tokens, k or 1, rows, depth] @ w[choice[tokens, k]] + r)``."""

    tokens: int | str
    k: int
    matrices: int
    depth: int
    columns: int
    own: bool = True
    """Whether each choice has a row of its own, not all of a token the same."""
    most: int | None = None
    """Only the first so many are chosen, if given."""
    rows: int = 1

    def arrays(self, draw: np.random.Generator) -> list[np.ndarray]:
        """x, w, choice, r; some choices are counted from the end."""
        x = draw.standard_normal((self.tokens, self.k if self.own else 1, self.rows, self.depth), np.float32)
        weight = draw.standard_normal((self.matrices, self.depth, self.columns), np.float32)
        choice = draw.integers(0, self.most or self.matrices, (self.tokens, self.k))
        choice = np.where(draw.random(choice.shape) < 0.3, choice - self.matrices, choice)
        return [x, weight, choice, draw.standard_normal((self.tokens, self.k, 1, self.columns), np.float32)]

    def workload(self, axis: int = 0) -> Workload:
        """Of one region."""
        tokens = -1 if isinstance(self.tokens, str) else self.tokens
        graph = Graph.build(
            [
                ("x", tensor(np.float32, [tokens, self.k if self.own else 1, self.rows, self.depth])),
                ("choice", tensor(np.int64, [tokens, self.k])),
                ("r", tensor(np.float32, [tokens, self.k, 1, self.columns])),
            ]
        )
        stack = np.ones((self.matrices, self.depth, self.columns), np.float32)
        weight = graph.weight_op(graph.weights.add(stack))
        x, choice, other = graph.inputs
        gather = onnx.Gather.make(weight.out, choice, axis=axis)
        product = onnx.MatMul.make(x, gather.output)
        total = onnx.Add.make(product.results[0], other)
        end = onnx.Relu.make(total.results[0])
        body = [gather, product, total, end]
        graph.body.add_ops([weight, *body])
        graph.set_outputs([("y", end.results[0])])
        return Workload.of(one_fusion(graph, body))


CASES = [
    Case(1, 2, 16, 64, 96),
    Case(64, 2, 4, 33, 50),
    Case(7, 3, 5, 20, 130, own=False),
    Case(1, 1, 1, 1, 1),
    Case(20, 2, 3, 16, 17, most=1),
    Case(5, 4, 8, 40, 300, own=False),
    Case(30, 1, 40, 24, 64),
]


def space_of(case: Case, cpu: Cpu) -> ChosenWeightsSpace:
    space = ChosenWeights().match(case.workload(), cpu)
    assert not isinstance(space, Refusal), f"{case}: {space.reason}"
    return space


@pytest.mark.parametrize("name", MACHINES)
def test_against_float64(name: str) -> None:
    cpu, draw, order = MACHINES[name], np.random.default_rng(SEED), random.Random(SEED)
    print(f"seed {SEED}", flush=True)
    made = []
    for case in CASES:
        space = space_of(case, cpu)
        points = space.points()
        best, others = min(points, key=space.estimate), order.sample(points, min(2, len(points)))
        made += [(case, point, space.build(point)) for point in dict.fromkeys((best, *others))]
    library = compiled_library({f"k{i}": impl.func for i, (*_, impl) in enumerate(made)}, CpuBackend(cpu))
    for i, (case, point, implementation) in enumerate(made):
        x, weight, choice, other = case.arrays(draw)
        chosen = weight.astype(np.float64)[choice]
        expected = np.maximum(x.astype(np.float64) @ chosen + other, 0)
        bound = (np.abs(x) @ np.abs(chosen) + np.abs(other)) * 2.0**-23 * 8  # of sums in float32
        # in the order in which the region reads them: the Gather, the product, what is added
        inputs = [*implementation.packings[0].apply(weight), choice, x, other]
        print(case, point, flush=True)  # seen when the process dies
        found = run_guarded(library[f"k{i}"], inputs, np.full(expected.shape, np.nan, np.float32), end=i % 2 == 0)
        off = ~(np.abs(found - expected) <= bound)
        assert not off.any(), f"{name} {case} {point}: {np.argwhere(off)[:3]}"


def test_sums_are_in_registers() -> None:
    cpu = machine("x86:znver4")
    space, backend = space_of(Case(64, 2, 8, 256, 256), cpu), CpuBackend(cpu)
    point = min(space.points(), key=space.estimate)
    code = backend.assembly(compiled_library({"kernel": space.build(point).func}, backend))
    loops = X86.innermost_loops(code, "vfmadd231ps")
    assert loops
    assert not any(X86.on_stack(loop) for loop in loops)


def test_matrices_that_nobody_chooses_cost_nothing() -> None:
    """Two of 16 take no longer than two of 8, by estimate, where either are in the same cache."""
    cpu = machine("x86:znver4")
    few, many = (space_of(Case(1, 2, count, 512, 512), cpu) for count in (8, 16))
    best = [min(map(space.estimate, space.points())) for space in (few, many)]
    assert best[1] < 1.3 * best[0]


@pytest.mark.parametrize(
    ("reason", "workload"),
    [
        ("a matrix is chosen for several rows at once", Case(3, 2, 4, 8, 8, rows=2)),
        ("sizes that are not known", Case("n", 2, 4, 8, 8)),
    ],
)
def test_what_is_refused(reason: str, workload: Case) -> None:
    found = ChosenWeights().match(workload.workload(), machine())
    assert isinstance(found, Refusal)
    assert found.reason == reason
