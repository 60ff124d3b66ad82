"""Products by weights in the pattern 2:4, by mma.sp: against float64, and by what ptxas makes of them."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from dsc.check.simulated import simulated
from dsc.ir import SparseAttr
from dsc.pipeline import compile_model
from dsc.simulator import Simulation
from dsc.sparsity import Pattern, weight_of
from dsc.targets import Refusal, target
from dsc.targets.gpu.matrix import ContractMatrices
from dsc.targets.gpu.sparse.packing import View
from dsc.targets.gpu.structured import StructuredMatmul
from dsc.targets.gpu.structured.instruction import MmaSparse
from dsc.targets.gpu.structured.packing import TwoOfFour
from dsc.targets.kernel import ArrayType
from tests.targets.cuda.sass import machine_code
from tests.targets.cuda.simulated import assembled, backend, library, machine
from tests.targets.sparse_products import Case, check, run, space_of

HALVES = MmaSparse("", 32, 2, "float32")
SEED = random.SystemRandom().randrange(1 << 30)
CASES = [
    Case((70,), 96, 40, "2:4"),
    Case((128,), 128, 48, "2:4"),
    Case((33,), 31, 50, "2:4"),
    Case((64,), 200, 64, "4x2:4", transposed=True),
    Case((2, 3, 5), 40, 7, "2:4"),
    Case((2,), 5, 3, "2:4"),
    Case(("n",), 72, 20, "2:4"),
]


@pytest.mark.parametrize("element", ["float16", "bfloat16"])
def test_against_float64(element: str, simulation: Simulation) -> None:
    check(StructuredMatmul(), [replace(case, element=element) for case in CASES], simulation, SEED)


def test_half_of_the_products_are_executed_and_memory_comes_in_whole_pieces(simulation: Simulation) -> None:
    case = Case((128,), 256, 128, "2:4", element="float16")
    space = space_of(StructuredMatmul(), case, machine())
    implementation = space.build(min(space.points(), key=space.estimate))
    code = library({"k": implementation.func}, backend(simulation))
    run(case, case.arrays(np.random.default_rng(SEED)), implementation, code["k"], simulation)
    counted = simulation.counters()["k_kernel"]
    assert counted.matrix_macs == 128 * 256 * 128 / 2
    assert counted.coalescing >= 0.95


@pytest.mark.parametrize("arch", ["sm_80", "sm_89", "sm_90"])
@pytest.mark.parametrize("element", ["float16", "bfloat16"])
def test_ptxas_makes_sparse_products_of_it(arch: str, element: str) -> None:
    """The largest tile, and the best: HMMA.SP and no other, nothing spilled."""
    space = space_of(StructuredMatmul(), Case((1000,), 768, 768, "2:4", element=element), machine(arch))
    points = sorted(space.points(), key=space.estimate)
    most = max(points, key=lambda point: point.warp_rows * point.warp_columns)
    made = assembled([space.build(point) for point in (points[0], most)], arch)
    assert made.said.count("0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads") == 2
    said = machine_code(made.image)
    assert said.count("HMMA.SP.16832.F32") >= 4
    assert said.count("HMMA") == said.count("HMMA.SP.16832.F32")


def test_a_model_takes_it() -> None:
    """A weight that is recognized as 2:4, rounded to halves because the user allows it."""
    draw = np.random.default_rng(SEED)
    mask = Pattern.parse("2:4").keep(draw.random((1024, 512)), 0.5)
    weight = (draw.standard_normal((512, 1024)) * weight_of(mask, 1, (512, 1024))).astype(np.float16)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "net", [info("x", TensorProto.FLOAT16, [2048, 512])],
        [info("y", TensorProto.FLOAT16, [2048, 1024])], [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with simulated(target("cuda:sm_80")) as (onto, _):
        (kernel,) = compile_model(model, target=onto).model.manifest.kernels
    assert kernel["kernel"] == "gpu.structured_matmul"
    assert '#dsc.sparse<"2:4", axis = 1, kept = 128>' in kernel["workload"]


def test_it_is_faster_than_dense_by_estimate_where_products_count() -> None:
    case = Case((4096,), 1024, 4096, "2:4", element="float16")
    sparse, dense = (space_of(kernel, case, machine()) for kernel in (StructuredMatmul(), ContractMatrices()))
    fastest = min(map(sparse.estimate, sparse.points()))
    assert 1.05 * fastest < min(map(dense.estimate, dense.points())) < 2 * fastest


def test_refusals() -> None:
    def refused(encoding: object, arch: str = "sm_80", element: str = "float16") -> str:
        workload = Case((8,), 48, 48, "2:4", element=element).workload()
        operand = next(o for o in workload.operands if o.encoding is not None)
        object.__setattr__(operand, "encoding", encoding)
        found = StructuredMatmul().match(workload, machine(arch))
        assert isinstance(found, Refusal)
        return found.reason

    two_of_four = SparseAttr.of(Pattern.parse("2:4"), 1, 0.5)
    assert refused(None) == "no weight with a pattern of zeros"
    assert refused(SparseAttr.of(Pattern(4), 1, 0.1)) == "not two of each four inputs are kept"
    assert refused(two_of_four, "sm_75") == "no instruction on matrices of float16 of which half is there"
    assert refused(two_of_four, "gfx942") == "no instruction on matrices of float16 of which half is there"
    assert refused(two_of_four, element="float32") == "no instruction on matrices of float32 of which half is there"


@pytest.mark.parametrize("shape", [(16, 64), (40, 100), (3, 5)])
@pytest.mark.parametrize("dtype", [np.float16, np.uint16])
def test_registers_and_metadata_stand_for_the_weight(shape: tuple[int, int], dtype: type) -> None:
    """By PTX's tables: where each lane's elements are among those that are there, and where these are."""
    draw = np.random.default_rng(SEED)
    weight = (draw.integers(1, 1000, shape) * Pattern.parse("2:4").keep(draw.random(shape), 0.5)).astype(dtype)
    outputs, depth = shape
    packing = TwoOfFour(View(shape, (depth, 1), outputs), HALVES, -(-outputs // 16), -(-depth // 64))
    values, metadata = packing.apply(weight)
    found = np.zeros((packing.groups * 16, packing.pieces * 64))
    for piece, lane, which, register, i in np.ndindex(packing.groups * packing.pieces, 32, 2, 4, 2):
        group, step = divmod(piece, packing.pieces)
        g, t = divmod(lane, 4)
        row, column = g + register % 2 * 8, t * 2 + i + register // 2 * 8
        word = int(metadata[piece, g * 4 + which * 2 + column // 8]) & 0xFFFFFFFF
        place = word >> (row // 8 * 16 + column % 8 * 2) & 3
        output = row * 2 if row < 8 else (row - 8) * 2 + 1
        at = step * 64 + which * 32 + column // 2 * 4 + place
        found[group * 16 + output, at] += values[piece].reshape(2, 32, 4, 2)[which, lane, register, i]
    np.testing.assert_array_equal(found[:outputs, :depth], weight)
    for array, type_ in zip((values, metadata), packing.arrays(ArrayType(shape, np.dtype(dtype).name)), strict=True):
        assert (array.shape, str(array.dtype)) == (type_.shape, type_.dtype)


def test_three_of_four_are_an_error() -> None:
    weight = np.array([[1, 1, 1, 0]], np.float16)
    with pytest.raises(ValueError, match="more than two of four"):
        TwoOfFour(View((1, 4), (4, 1), 1), HALVES, 1, 1).apply(weight)
