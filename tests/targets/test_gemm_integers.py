"""Products of bytes: every form of them, exactly, on ragged sizes and extreme values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import tvm
from tvm import tirx
from tvm.ir import Expr

from dsc.codegen.selection import Candidate, Failures, candidates
from dsc.ir import Graph, tensor
from dsc.ir import onnx as dialect
from dsc.lower.workload import Workload
from dsc.pipeline import compile_model
from dsc.targets import AnyTarget, Target, target
from dsc.targets.arm.instructions import A76, V1, dot_products, matrix_products_of_bytes, smlal
from dsc.targets.cpu.gemm.integers import WORDS
from dsc.targets.cpu.gemm.panels import Panels
from dsc.targets.cpu.matrix_tile import MatrixTile
from dsc.targets.cpu.tile import reinterpreted
from dsc.targets.kernel import ArrayType
from dsc.targets.x86 import X86
from dsc.targets.x86.instructions import INTEL, vpdpbusd
from tests.targets.by_arithmetic import ByArithmetic

BYTES = ("uint8", "int8", "int32")
RANDOM = np.random.default_rng(17)
SIZES = [(1, 1, 9), (2, 1, 8), (3, 5, 7), (17, 33, 65), (5, 1000, 3), (2, 2, 130), (64, 768, 48), (33, 4, 16)]
TYPES = [("uint8", "int8"), ("int8", "int8"), ("uint8", "uint8"), ("int8", "uint8")]


def bytes_of(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random bytes, many of them the least and the greatest."""
    limits = np.iinfo(dtype)
    array = RANDOM.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    array[RANDOM.random(shape) < 0.2] = limits.min
    array[RANDOM.random(shape) < 0.2] = limits.max
    return array


def model(
    a: np.ndarray, b: np.ndarray, zeros: tuple[np.ndarray | None, np.ndarray | None], constant: bool, free: bool = False
) -> onnx.ModelProto:
    """MatMulInteger(a, b, zeros..); `b` an initializer or an input, the rows of `a` of free number."""
    arrays = {"a": a, "b": b} | {f"z{i}": zero for i, zero in enumerate(zeros) if zero is not None}
    names = ["a", "b", *(f"z{i}" if zero is not None else "" for i, zero in enumerate(zeros))]
    while not names[-1]:
        names.pop()
    given = ["a"] if constant else ["a", "b"]
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    if free:
        shapes["a"][-2] = "rows"
    types = {name: onnx.helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in arrays.items()}
    infos = [onnx.helper.make_tensor_value_info(name, types[name], shapes[name]) for name in given]
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT32, None)
    weights = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items() if name not in given]
    node = onnx.helper.make_node("MatMulInteger", names, ["y"])
    graph = onnx.helper.make_graph([node], "product", infos, [y], weights)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)


def exact(a: np.ndarray, b: np.ndarray, zeros: tuple[np.ndarray | None, np.ndarray | None]) -> np.ndarray:
    za, zb = (0 if zero is None else zero.astype(np.int64) for zero in zeros)
    if np.ndim(za) == 1:
        za = za[:, None]
    return (a.astype(np.int64) - za) @ (b.astype(np.int64) - zb)


def check(
    a: np.ndarray, b: np.ndarray, zeros: tuple[np.ndarray | None, np.ndarray | None], constant: bool,
    onto: AnyTarget | str = "x86", free: bool = False, kernel: str | None = "cpu.gemm",
) -> None:  # fmt: skip
    compilation = compile_model(model(a, b, zeros, constant, free), target=onto)
    for choice in compilation.model.choices:  # of the sums of `a` as well, where zero points of weights leave them over
        assert not choice.failures
        assert kernel in (None, choice.kernel)
    feeds = {"a": a} if constant else {"a": a, "b": b}
    np.testing.assert_array_equal(compilation.model.load(1).run(feeds)["y"], exact(a, b, zeros))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("left", "right"), TYPES)
def test_sizes_and_types(left: str, right: str, size: tuple[int, int, int]) -> None:
    m, k, n = size
    a, b = bytes_of(left, (m, k)), bytes_of(right, (k, n))
    check(a, b, (None, None), constant=True, kernel=None)
    check(a, b, (bytes_of(left, ()), None), constant=True, kernel=None)


@pytest.mark.parametrize(("left", "right"), TYPES)
def test_zero_points_of_all_rows_and_columns(left: str, right: str) -> None:
    a, b = bytes_of(left, (19, 34)), bytes_of(right, (34, 21))
    for constant in (True, False):
        check(a, b, (bytes_of(left, ()), bytes_of(right, ())), constant)
        check(a, b, (None, bytes_of(right, (21,))), constant)
        check(a, b, (bytes_of(left, (19,)), None), constant)


@pytest.mark.parametrize("constant", [True, False])
def test_batches_and_free_rows(constant: bool) -> None:
    zero = bytes_of("uint8", ())
    for shape in [(2, 3, 7, 20), (4, 7, 20)]:
        check(bytes_of("uint8", shape), bytes_of("int8", (20, 11)), (zero, None), constant)
        check(bytes_of("uint8", shape), bytes_of("int8", (*shape[:-2], 20, 11)), (zero, None), constant)
    for rows in (1, 7, 40):
        check(bytes_of("int8", (rows, 37)), bytes_of("int8", (37, 24)), (None, None), constant, free=True)


def test_tasks_of_several_panels() -> None:
    """Rows of free number: a task copies some of them for a strip of panels, and the last strip is shorter."""
    b, zeros = bytes_of("int8", (37, 200)), (bytes_of("uint8", ()), None)
    machine = replace(target("x86:x86-64-v3").machine, cores=2)
    compilation = compile_model(
        model(bytes_of("uint8", (1, 37)), b, zeros, True, free=True), target=Target(X86(), machine)
    )
    (choice,) = compilation.model.choices
    assert choice.kernel == "cpu.gemm"
    assert "strip=1," not in choice.point
    loaded = compilation.model.load(1)
    for rows in (1, 7, 43):
        a = bytes_of("uint8", (rows, 37))
        np.testing.assert_array_equal(loaded.run({"a": a})["y"], exact(a, b, zeros))


@pytest.mark.parametrize(("a", "b", "zero"), [(255, -128, 0), (0, -128, 255), (255, 127, 0)])
def test_nothing_saturates(a: int, b: int, zero: int) -> None:
    """Every product is the greatest or the least there is."""
    zeros = (np.array(zero, np.uint8), None)
    check(np.full((6, 1027), a, np.uint8), np.full((1027, 20), b, np.int8), zeros, constant=True)


def best(onto: AnyTarget, right: str = "int8", left: str = "uint8") -> tuple[Candidate, list[tuple[str, str]]]:
    """The GEMM of least estimate for a product of 40 x 768 x 80 bytes."""
    graph = Graph.build([("a", tensor(left, (40, 768)))])
    weight = graph.make_constant(bytes_of(right, (768, 80)))
    product = dialect.MatMulInteger.make(graph.inputs[0], weight.results[0])
    graph.body.add_ops([weight, product])
    found, refusals = candidates(Workload.of(product), onto, Failures())
    return found[0], refusals


def test_the_form_is_that_of_the_machines_instruction() -> None:
    words = best(target("x86:znver3"))[0].space.source
    assert words.operands == WORDS
    assert words.packed == "int8"  # widened as it is loaded
    assert best(target("x86:znver4"))[0].space.source.operands == BYTES
    assert best(target("x86:znver4"), "uint8")[0].space.source.operands == WORDS


def test_a_machine_without_an_instruction_refuses() -> None:
    machine = target("x86:haswell").machine
    bare = Target(X86(), replace(machine, instructions=machine.multiply_adds("float32", "float32", "float32")))
    found, refusals = best(bare)
    assert found.kernel.name == "cpu.generic"
    assert ("cpu.gemm", "no instruction for uint8 x int8 or int8 x int8 or int16 x int16") in refusals


class MatricesByArithmetic(MatrixTile):
    """The same of instructions that multiply matrices."""

    def multiply_add(self, i: int, v: int, a: Expr, b: Expr) -> None:
        row, total = self.instruction, self.matrix(i, v)
        left, right = (reinterpreted(x, f"{t}x16") for t, x in ((row.a, a), (row.b, b)))
        for k in range(row.k):
            orders = ((0, 0, 1, 1), (0, 1, 0, 1))
            places = [[tirx.const(k + row.k * each, "int32") for each in order] for order in orders]
            x, y = (
                tirx.Shuffle([value], at).astype("int32x4") for value, at in zip((left, right), places, strict=True)
            )
            total = total + x * y
        self._put_matrix(i, v, total)


@pytest.fixture
def vnni(monkeypatch: pytest.MonkeyPatch) -> AnyTarget:
    """This host, as if it had VNNI."""
    monkeypatch.setattr("dsc.targets.cpu.gemm.code.RegisterTile", ByArithmetic)
    machine = target("x86").machine
    rows = tuple(row for row in machine.instructions if row.name != "vpdpbusd")
    return Target(X86(), replace(machine, instructions=(*rows, *vpdpbusd(machine.vector_bits, 512, 4, INTEL))))


ARM = {
    "armv8-a": (smlal(1.0, 4, A76),),
    "dotprod": (*dot_products(2.0, 3, A76), smlal(1.0, 4, A76)),
    "i8mm": (*matrix_products_of_bytes(4.0, 3, V1), *dot_products(4.0, 3, V1), smlal(2.0, 4, V1)),
}


def with_arms(monkeypatch: pytest.MonkeyPatch, name: str) -> AnyTarget:
    """This host, as if it had these instructions of Arm's."""
    monkeypatch.setattr("dsc.targets.cpu.gemm.code.RegisterTile", ByArithmetic)
    monkeypatch.setattr("dsc.targets.cpu.gemm.code.MatrixTile", MatricesByArithmetic)
    machine = target("x86").machine
    floats = machine.multiply_adds("float32", "float32", "float32")
    return Target(X86(), replace(machine, lane_operand=True, instructions=(*floats, *ARM[name])))


@pytest.mark.parametrize(("left", "right"), TYPES)
@pytest.mark.parametrize("name", ARM)
def test_arms_instructions(name: str, left: str, right: str, monkeypatch: pytest.MonkeyPatch) -> None:
    onto = with_arms(monkeypatch, name)
    for m, k, n in SIZES[3:7]:
        a, b = bytes_of(left, (m, k)), bytes_of(right, (k, n))
        for zero in (None, bytes_of(left, ()), bytes_of(left, (m,))):
            check(a, b, (zero, None), constant=True, onto=onto)
    check(a, b, (bytes_of(left, ()), bytes_of(right, ())), constant=False, onto=onto)


@pytest.mark.parametrize(
    ("name", "right", "left", "form"),
    [
        ("armv8-a", "int8", "uint8", WORDS),
        ("dotprod", "int8", "uint8", ("int8", "int8", "int32")),
        ("dotprod", "uint8", "int8", ("uint8", "uint8", "int32")),
        ("i8mm", "int8", "uint8", BYTES),
        ("i8mm", "int8", "int8", ("int8", "int8", "int32")),
    ],
)
def test_arms_forms(
    name: str, right: str, left: str, form: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert best(with_arms(monkeypatch, name), right, left)[0].space.source.operands == form


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("left", ["uint8", "int8"])
def test_unsigned_by_signed_bytes(left: str, size: tuple[int, int, int], vnni: AnyTarget) -> None:
    """The form of VNNI, whose sums of columns take a zero point and the shift of signed bytes off again."""
    m, k, n = size
    a, b = bytes_of(left, (m, k)), bytes_of("int8", (k, n))
    for zero in (None, bytes_of(left, ()), bytes_of(left, (m,))):
        check(a, b, (zero, None), constant=True, onto=vnni, kernel=None)
    assert best(vnni)[0].space.source.operands == BYTES


def test_where_the_host_has_vnni() -> None:
    if not target("x86").machine.multiply_adds(*BYTES):
        pytest.skip("the host has no VNNI")
    check(bytes_of("uint8", (40, 770)), bytes_of("int8", (770, 81)), (bytes_of("uint8", ()), None), constant=True)


def test_panels_of_neighbours_and_their_sums() -> None:
    weight = bytes_of("int8", (2, 7, 9))
    packing = Panels(columns=4, neighbours=2, dtype="int16", sums=True)
    panels, sums = packing.apply(weight)
    types = packing.arrays(ArrayType(weight.shape, "int8"))
    assert types == (ArrayType((2, 3, 4, 8), "int16"), ArrayType((2, 9), "int32"))
    assert [(array.shape, str(array.dtype)) for array in (panels, sums)] == [(t.shape, t.dtype) for t in types]
    assert panels[1, 2, 1, 0] == weight[1, 2, 8]  # panel 2 begins with column 8, step 1 with row 2
    assert panels[1, 2, 1, 1] == weight[1, 3, 8]
    assert not panels[1, 2, :, 2:].any()
    assert not panels[:, :, 3, 1::2].any()  # row 7 is beyond the last
    np.testing.assert_array_equal(sums, weight.sum(axis=1, dtype=np.int32))
    swapped = replace(packing, transposed=True).apply(weight.swapaxes(1, 2))
    np.testing.assert_array_equal(swapped[0], panels)
    assert tvm.runtime.tensor(panels).shape == types[0].shape
