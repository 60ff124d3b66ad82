"""Products by sparse weights on NVIDIA's GPUs: against float64 at ragged sizes, in registers, by whole sectors."""

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
from dsc.targets import Kernel, Refusal, target
from dsc.targets.gpu.contraction import Contract
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix import ContractMatrices
from dsc.targets.gpu.sparse import SparseMatmul
from dsc.targets.gpu.sparse.packing import KeptInputs, View, room
from dsc.targets.kernel import ArrayType
from tests.targets.cuda.sass import LOCAL, count, instructions
from tests.targets.cuda.simulated import assembled, backend, library, machine
from tests.targets.sparse_products import Case, check, run, space_of

SEED = random.SystemRandom().randrange(1 << 30)
CASES = [
    Case((70,), 96, 40),
    Case((128,), 64, 48, "16x1", 0.3),
    Case((33,), 31, 50, "unstructured", 0.1),
    Case((64,), 200, 64, "4x1", 0.1, transposed=True),
    Case((2, 3, 5), 40, 7, "2x1"),
    Case((2,), 9, 3, "unstructured", 0.5),
    Case(("n",), 72, 20),
    Case((20,), 50, 40, "4x4"),
    Case((40,), 64, 32, "4x1", 0.0),
    Case((40,), 64, 32, "8x1", 1.0),
]


@pytest.mark.parametrize("element", ["float32", "float16", "bfloat16"])
def test_against_float64(element: str, simulation: Simulation) -> None:
    check(SparseMatmul(), [replace(case, element=element) for case in CASES], simulation, SEED)


def test_inputs_are_loaded_and_results_stored_in_whole_pieces_of_memory(simulation: Simulation) -> None:
    case = Case((128,), 256, 128, "16x1", 0.2, "float16")
    space = space_of(SparseMatmul(), case, machine())
    implementation = space.build(min(space.points(), key=space.estimate))
    code = library({"k": implementation.func}, backend(simulation))
    run(case, case.arrays(np.random.default_rng(SEED)), implementation, code["k"], simulation)
    counted = simulation.counters()["k_kernel"]
    assert counted.coalescing >= 0.9
    assert 0 < counted.matrix_macs <= 128 * 256 * 128 * 0.4, "as few products as inputs are kept, to a step's fragments"


def test_an_input_reaches_the_outputs_that_keep_it(simulation: Simulation) -> None:
    """Infinities beside the depth of a group's weights change nothing, whatever fills its fragments."""
    case = Case((16,), 64, 32, "16x1", 0.2, "float16")
    space = space_of(SparseMatmul(), case, machine())
    implementation = space.build(space.points()[0])
    x, weight, bias = case.arrays(np.random.default_rng(0))
    weight[5, :16], weight[5, 16:] = 0, 1
    x[:, 5] = np.inf
    code = library({"k": implementation.func}, backend(simulation))
    found = run(case, [x, weight, bias], implementation, code["k"], simulation)
    assert np.isfinite(found[:, :16]).all()
    assert np.isposinf(found[:, 16:]).all()


@pytest.mark.parametrize(("element", "multiplies"), [("float32", "FFMA"), ("float16", "HMMA"), ("bfloat16", "HMMA")])
def test_sums_are_in_registers(element: str, multiplies: str) -> None:
    """Of tilings of all sizes: what ptxas makes spills nothing, and multiplies by the instruction that was meant."""
    space = space_of(SparseMatmul(), Case((1000,), 768, 768, "4x1", 0.1, element), machine())
    points = sorted(space.points(), key=space.estimate)
    most = max(points, key=lambda point: point.warp_rows * point.warp_columns)
    made = assembled([space.build(point) for point in (points[0], most)], "sm_80")
    assert made.said.count("0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads") == 2
    for code in instructions(made.image).values():
        assert code[multiplies] > 0
        assert count(code, LOCAL) == 0


def test_a_model_takes_it() -> None:
    """Recognized, packed, launched, and told by its name."""
    draw = np.random.default_rng(SEED)
    mask = Pattern.parse("4x1").keep(draw.random((512, 512)), 0.1)
    weight = draw.standard_normal((512, 512), np.float32) * weight_of(mask, 1, (512, 512))
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "net", [info("x", TensorProto.FLOAT, [1024, 512])],
        [info("y", TensorProto.FLOAT, [1024, 512])], [numpy_helper.from_array(weight.astype(np.float32), "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    x = draw.standard_normal((1024, 512), np.float32)
    with simulated(target("cuda:sm_80")) as (onto, _):
        made = compile_model(model, target=onto).model
        (kernel,) = made.manifest.kernels
        assert kernel["kernel"] == "gpu.sparse_matmul"
        found = made.load(1).run({"x": x})["y"]
    np.testing.assert_allclose(found, x.astype(np.float64) @ weight, atol=1e-3)


# --- what is chosen and refused


def best(kernel: Kernel[Gpu], case: Case) -> float:
    space = space_of(kernel, case, machine())
    return min(map(space.estimate, space.points()))


@pytest.mark.parametrize(("density", "is_sparse"), [(0.1, True), (1.0, False)])
def test_zeros_are_skipped_where_that_pays(density: float, is_sparse: bool) -> None:
    case = Case((2048,), 768, 3072, "4x1", density)
    assert (best(SparseMatmul(), case) < best(Contract(), case)) is is_sparse
    halves = Case((4096,), 768, 3072, "16x1", density, "float16")
    assert (best(SparseMatmul(), halves) < best(ContractMatrices(), halves)) is is_sparse


def test_refusals() -> None:
    def refused(encoding: object) -> str:
        workload = Case((8,), 48, 48).workload()
        operand = next(o for o in workload.operands if o.encoding is not None)
        object.__setattr__(operand, "encoding", encoding)
        found = SparseMatmul().match(workload, machine())
        assert isinstance(found, Refusal)
        return found.reason

    assert refused(None) == "no weight with a pattern of zeros"
    assert refused(SparseAttr.of(Pattern(4), 0, 0.1)) == "zeros are in blocks of inputs"
    bfloat16 = SparseMatmul().match(Case((8,), 48, 48, element="bfloat16").workload(), machine("sm_75"))
    assert bfloat16 == Refusal("no instruction on matrices of bfloat16")


# --- how weights are stored


def packing(weight: np.ndarray, columns: int = 4, depth: int = 16, deep: int = 4, fragments: int = 0) -> KeptInputs:
    """Of a weight ``[outputs, inputs]``, its fragments as they are."""
    outputs, inputs = weight.shape
    groups, steps = -(-outputs // columns), -(-inputs // depth)
    banks = tuple(line % 8 for line in range(depth))
    layout, order = tuple(range(deep * columns)), tuple(range(deep))
    view = View((outputs, inputs), (inputs, 1), outputs)
    return KeptInputs(view, columns, groups, depth, deep, layout, order, banks, fragments or groups * steps * depth)


@pytest.mark.parametrize("shape", [(8, 32), (7, 9), (33, 50), (1, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_fragments_are_the_weight(shape: tuple[int, int], dtype: type) -> None:
    draw = np.random.default_rng(SEED)
    weight = (draw.integers(1, 1000, shape) * Pattern(4).keep(draw.random(shape), 0.3)).astype(dtype)
    if dtype is np.uint16:
        weight[weight == 0] = 0x8000  # minus 0, as multiplying by a mask leaves it
    made = packing(weight)
    starts, lines, values = made.apply(weight)
    found = np.zeros((made.groups * made.columns, made.steps * made.depth))
    for cell in range(len(starts) - 1):
        group, step = divmod(cell, made.steps)
        for fragment in range(starts[cell], starts[cell + 1]):
            for slot, line in enumerate(lines[fragment]):
                rows = slice(group * made.columns, (group + 1) * made.columns)
                found[rows, step * made.depth + line] += values[fragment].reshape(made.deep, -1)[slot]
    np.testing.assert_array_equal(found[: shape[0], : shape[1]], np.where(weight == 0x8000, 0, weight))
    for array, type_ in zip((starts, lines, values), made.arrays(ArrayType(shape, np.dtype(dtype).name)), strict=True):
        assert (array.shape, str(array.dtype)) == (type_.shape, type_.dtype)


def test_lines_that_are_read_together_are_in_different_banks() -> None:
    weight = np.zeros((4, 16), np.float32)
    weight[0, [0, 8, 1, 9, 2, 10, 3, 11]] = 1  # of banks 0 to 3, two each
    _, lines, _ = packing(weight).apply(weight)
    assert [sorted(fragment % 8) for fragment in lines[:2]] == [[0, 1, 2, 3]] * 2


def test_more_fragments_than_the_type_says_are_an_error() -> None:
    weight = np.ones((4, 8), np.float32)
    with pytest.raises(ValueError, match="2 fragments, where there is room for 1"):
        packing(weight, fragments=1).apply(weight)


@pytest.mark.parametrize("text", ["unstructured", "2x1", "4x1", "16x1", "6x1", "4x4"])
@pytest.mark.parametrize("columns", [4, 16])
def test_there_is_room_for_what_the_type_says(text: str, columns: int) -> None:
    draw, pattern, shape = np.random.default_rng(SEED), Pattern.parse(text), (50, 70)
    for density in (0.05, 0.3, 1.0):
        mask = pattern.keep(draw.random(shape), density).astype(np.float32)
        encoding = SparseAttr.of(pattern, 0, pattern.occupied(mask).mean())
        view = View(shape, (70, 1), 50)
        made = packing(mask, columns, 32, 8, room(encoding, view, columns, 32, 8))
        made.apply(mask)
