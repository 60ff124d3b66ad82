"""Products by weights of few bits: both ways to make floats of them, against float64, on ragged sizes."""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np
import pytest
import tvm

from dsc.elements import computed
from dsc.ir import Graph, tensor
from dsc.ir import onnx as dialect
from dsc.lower.workload import Workload
from dsc.targets import Point, Refusal
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.gemm import Gemm
from dsc.targets.cpu.gemm.tiling import Tiling
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.weight_only import WeightOnly
from dsc.targets.cpu.weight_only.packing import OfGroups, Words
from dsc.targets.cpu.weight_only.space import Unpacking, WeightOnlySpace
from dsc.targets.kernel import ArrayType
from tests.kernels import compiled_library, machine, with_lane_operands
from tests.targets.assembly import X86
from tests.targets.regions import one_fusion

NAMES = ("int2", "uint2", "int4", "uint4", "int8", "uint8")
TYPES = {name: np.dtype(getattr(ml_dtypes, name, None) or name) for name in NAMES}
LIMITS = {"int2": (-2, 1), "uint2": (0, 3), "int4": (-8, 7), "uint4": (0, 15), "int8": (-128, 127), "uint8": (0, 255)}


@dataclass(frozen=True)
class Case:
    """A product of ``[*rows, depth]`` by a weight, and a bias."""

    rows: tuple[int | str, ...]
    depth: int
    columns: int
    dtype: str
    group: int
    zeros: bool = False

    def arrays(self, random: np.random.Generator) -> list[np.ndarray]:
        """The factor, with 5 for rows of a free number; integers, scales of both signs, zero points; a bias."""
        low, high = LIMITS[self.dtype]
        shape = (-(-self.depth // self.group), self.columns)
        x = random.standard_normal((*(5 if isinstance(d, str) else d for d in self.rows), self.depth), np.float32)
        integers = random.integers(low, high, (self.depth, self.columns), endpoint=True).astype(TYPES[self.dtype])
        scales = (random.uniform(0.5, 2, shape) * random.choice([-1, 1e-6, 0, 3], shape)).astype(np.float32)
        zeros = [random.integers(low, high, shape, endpoint=True).astype(TYPES[self.dtype])] if self.zeros else []
        return [x, integers, scales, *zeros, random.standard_normal(self.columns, np.float32)]

    def workload(self) -> Workload:
        """Of one region, whose constants are not read yet."""
        _, *constants = self.arrays(np.random.default_rng(1))
        shape = [*(-1 if isinstance(d, str) else d for d in self.rows), self.depth]
        graph = Graph.build([("x", tensor(np.float32, shape))])
        made = [graph.weight_op(graph.weights.add(array)) for array in constants]  # small ones too
        *weight, added = (op.results[0] for op in made)
        dequantized = dialect.DequantizeLinear.make(*weight, axis=0, block_size=self.group)
        product = dialect.MatMul.make(graph.inputs[0], dequantized.results[0])
        total = dialect.Add.make(product.results[0], added)
        graph.body.add_ops([*made, dequantized, product, total])
        graph.set_outputs([("y", total.results[0])])
        return Workload.of(one_fusion(graph, [dequantized, product, total]))

    def exact(self, arrays: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """In float64, and a bound of what float32 may be off by: roundings of sums of so many terms."""
        x, integers, scales, *rest = (computed(array).astype(np.float64) for array in arrays)
        zeros = rest[0] if self.zeros else np.zeros_like(scales)
        group = np.arange(self.depth) // self.group
        weight = (integers - zeros[group]) * scales[group]
        bound = np.abs(x) @ np.abs(weight) + np.abs(rest[-1])
        return x @ weight + rest[-1], bound * 2.0**-23 * 8


CASES = [
    Case((1,), 100, 33, "uint4", 16, zeros=True),  # seven groups, the last of four
    Case((2,), 78, 24, "int4", 78),
    Case((3, 7), 96, 50, "int4", 32),
    Case((3,), 75, 9, "uint8", 20, zeros=True),
    Case((2,), 50, 12, "int2", 16),
    Case(("n",), 72, 20, "int8", 24),
    Case((1,), 5, 3, "uint2", 5, zeros=True),
    Case((9,), 1, 2, "int8", 1, zeros=True),
]


def space_of(case: Case, cpu: Cpu) -> WeightOnlySpace:
    space = WeightOnly().match(case.workload(), cpu)
    assert not isinstance(space, Refusal), f"{case}: {space.reason}"
    return space


def best_of_each_kind(space: WeightOnlySpace) -> list[Point]:
    kinds = [[p for p in space.points() if p.in_registers is kind] for kind in (True, False)]
    return [min(points, key=space.estimate) for points in kinds if points]


MACHINES = {"host": (machine(), CASES), "lanes": (with_lane_operands(4), CASES[:3])}


@pytest.fixture(scope="module")
def built() -> list[tuple]:
    """Both kinds of code of each case, compiled together."""
    found = []
    for name, (cpu, cases) in MACHINES.items():
        made = [
            (case, point, space.build(point))
            for case in cases
            for space in [space_of(case, cpu)]
            for point in best_of_each_kind(space)
        ]
        library = compiled_library({f"k{i}": impl.func for i, (_, _, impl) in enumerate(made)}, CpuBackend(cpu))
        found += [(name, *each, library[f"k{i}"]) for i, each in enumerate(made)]
    return found


def test_against_float64(built: list[tuple]) -> None:
    random = np.random.default_rng()
    for name, case, point, implementation, function in built:
        arrays = case.arrays(random)
        expected, bound = case.exact(arrays)
        x, *weight, bias = arrays
        inputs = [*weight, x, bias]  # as the ops read them
        given = [part for i, a in enumerate(inputs) for part in _packed(implementation.packings.get(i), a)]
        y = tvm.runtime.tensor(np.full(expected.shape, 77, np.float32))
        function(*(tvm.runtime.tensor(array) for array in given), y)
        off = np.abs(y.numpy() - expected) > bound
        assert not off.any(), f"{name} {case} {point}: {np.argwhere(off)[:3]}"


def _packed(packing: object, array: np.ndarray) -> tuple[np.ndarray, ...]:
    return (array,) if packing is None else packing.apply(array)


def test_both_kinds_were_there(built: list[tuple]) -> None:
    kinds = {(name, point.in_registers) for name, _, point, _, _ in built}
    assert kinds == {(name, kind) for name in MACHINES for kind in (True, False)}
    assert any(point.tiling.depth > 1 for name, _, point, _, _ in built if name == "lanes")


def test_words() -> None:
    """Bit for bit: neighbours of the depth from the lowest bits on."""
    array = np.arange(-8, 8).repeat(3).reshape(16, 3)[:11].astype(ml_dtypes.int4)
    packing = Words(columns=2, bits=4)
    (words,) = packing.apply(array)
    (type_,) = packing.arrays(ArrayType(array.shape, "uint8"))
    assert type_ == ArrayType((2, 2, 2), "int32")
    assert (words.shape, str(words.dtype)) == (type_.shape, type_.dtype)
    for k, n in np.ndindex(array.shape):
        nibble = (int(words[n // 2, k // 8, n % 2]) >> (4 * (k % 8))) & 15
        assert nibble == int(array[k, n]) % 16
    assert not words[1, :, 1].any()  # there is no fourth column
    assert not (words[0, 1].view(np.uint32) >> 12).any()  # nor a twelfth row


def test_parameters_of_groups() -> None:
    scales = np.arange(6, dtype=np.float32).reshape(2, 3)
    (panels,) = OfGroups(2, "float32").apply(scales)
    np.testing.assert_array_equal(panels, [[[0, 1], [3, 4]], [[2, 0], [5, 0]]])
    zeros = np.array([[1, 15, 7]]).astype(ml_dtypes.uint4)
    (packed,) = OfGroups(2, "uint8").apply(zeros)
    assert packed.dtype == np.uint8
    np.testing.assert_array_equal(packed, [[[1, 15]], [[7, 0]]])


def test_few_rows_stay_in_registers_and_many_do_not() -> None:
    chosen = {}
    for rows in (1, 2, 128):
        space = space_of(Case((rows,), 768, 768, "int4", 32), machine("x86:haswell"))
        chosen[rows] = min(space.points(), key=space.estimate).in_registers
    assert chosen == {1: True, 2: True, 128: False}


def test_a_tile_of_too_many_vectors_spills() -> None:
    """What the space leaves out, LLVM does not find registers for."""
    cpu = machine("x86:haswell")
    space = space_of(Case((1,), 512, 512, "int4", 64), cpu)
    widest = max(p.tiling.vectors for p in space.points() if p.in_registers)
    assert widest < 6
    point = Unpacking(Tiling(1, 6, 8, "columns"), in_registers=True)
    backend = CpuBackend(cpu)
    code = backend.assembly(compiled_library({"kernel": space.build(point).func}, backend))
    loops = X86.innermost_loops(code, "vcvtdq2ps")
    assert any(X86.on_stack(loop) for loop in loops)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (Case((4,), 64, 8, "int4", 12), "groups of 12 are no whole words"),
        (Case((4,), 64, 8, "int8", 6), "groups of 6 are no whole words"),
    ],
)
def test_refusals(case: Case, reason: str) -> None:
    found = WeightOnly().match(case.workload(), machine())
    assert isinstance(found, Refusal)
    assert found.reason == reason


def test_the_product_of_floats_leaves_it_alone() -> None:
    found = Gemm().match(CASES[0].workload(), machine())
    assert isinstance(found, Refusal)
    assert found.reason == "its weight is in groups of few bits"
