"""Products and convolutions of bytes by sparse weights, exactly, where an instruction multiplies four at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from dsc.ir import Graph, SparseAttr, WeightOp, tensor
from dsc.ir import onnx as dsc_onnx
from dsc.ir.types import with_encoding
from dsc.lower.workload import Workload
from dsc.pipeline import compile_model
from dsc.sparsity import Pattern, matrix_of, weight_of
from dsc.targets import AnyTarget, Refusal, Target, target
from dsc.targets.arm.instructions import A76, dot_products
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.sparse import SparseMatmul
from dsc.targets.cpu.sparse.matmul_space import SparseMatmulSpace
from dsc.targets.x86 import X86
from dsc.targets.x86.instructions import INTEL, vpdpbusd
from tests.guard_pages import run_guarded
from tests.kernels import compiled_library
from tests.targets.by_arithmetic import ByArithmetic
from tests.targets.regions import one_fusion

RANDOM = np.random.default_rng()


@pytest.fixture(params=["vnni", "dotprod"])
def onto(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AnyTarget:
    """This host, as if it had VNNI, or Arm's products of bytes, and sparse kernels took no time."""
    monkeypatch.setattr("dsc.targets.cpu.sparse.panel.RegisterTile", ByArithmetic)
    for name in ("matmul_space.SparseMatmulSpace", "conv_space.SparseConvSpace"):
        monkeypatch.setattr(f"dsc.targets.cpu.sparse.{name}.estimate", lambda self, point: 0.0)
    machine = target("x86:haswell").machine
    floats = machine.multiply_adds("float32", "float32", "float32")
    rows = vpdpbusd(machine.vector_bits, 256, 4, INTEL) if request.param == "vnni" else dot_products(2.0, 3, A76)
    return Target(X86(), replace(machine, instructions=(*floats, *rows)))


def sparse(shape: tuple[int, ...], axis: int, pattern: str, density: float) -> np.ndarray:
    """Bytes of both signs, the least and the greatest among them."""
    weight = RANDOM.choice(np.array([-128, -127, -1, 1, 77, 127], np.int8), shape)
    mask = Pattern.parse(pattern).keep(RANDOM.random(matrix_of(weight, axis).shape), density)
    return np.where(weight_of(mask, axis, shape), weight, np.int8(0))


def check(
    kind: str, x: np.ndarray, w: np.ndarray, zero: int | None, onto: AnyTarget, kernel: str, **attributes: object
):
    """Compiled, in whole numbers; the same of floats by ONNX Runtime is exact for so few terms."""
    element = helper.np_dtype_to_tensor_dtype(x.dtype)
    weights = [numpy_helper.from_array(w, "w")]
    if zero is not None:
        weights.append(numpy_helper.from_array(np.array(zero, x.dtype), "z"))
    node = helper.make_node(f"{kind}Integer", ["x", *(t.name for t in weights)], ["y"], **attributes)
    info = helper.make_tensor_value_info
    graph = helper.make_graph([node], "g", [info("x", element, x.shape)], [info("y", 6, None)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    compilation = compile_model(model, target=onto)
    assert kernel in {each["kernel"] for each in compilation.model.manifest.kernels}
    found = compilation.model.load(1).run({"x": x})["y"]
    np.testing.assert_array_equal(found, exact(kind, x.astype(np.float64) - (zero or 0), w, attributes))


def exact(kind: str, x: np.ndarray, w: np.ndarray, attributes: dict) -> np.ndarray:
    if kind == "MatMul":
        return (x @ w.astype(np.float64)).astype(np.int64)
    from onnx.reference import ReferenceEvaluator

    node = helper.make_node("Conv", ["x", "w"], ["y"], **attributes)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "g", [info("x", onnx.TensorProto.DOUBLE, None), info("w", onnx.TensorProto.DOUBLE, None)],
        [info("y", onnx.TensorProto.DOUBLE, None)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    return ReferenceEvaluator(model).run(None, {"x": x, "w": w.astype(np.float64)})[0].astype(np.int64)


def bytes_of(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    limits = np.iinfo(dtype)
    return RANDOM.integers(limits.min, limits.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize(
    ("m", "k", "n", "pattern", "density"),
    [
        (70, 48, 40, "4x1", 0.2),
        (5, 100, 21, "unstructured", 0.1),
        (33, 67, 50, "16x1", 0.3),
        (1, 128, 24, "2x1", 0.5),
        (40, 33, 35, "4x1", 0.0),
        (70, 96, 40, "1x4", 0.1),
        (5, 101, 21, "1x4", 0.1),
        (33, 67, 50, "4x4", 0.3),
        (1, 130, 24, "2x4", 0.2),
        (17, 150, 19, "1x16", 0.2),
        (3, 18, 64, "16x8", 0.5),
    ],
)
def test_products(dtype: str, m: int, k: int, n: int, pattern: str, density: float, onto: AnyTarget) -> None:
    weight = sparse((k, n), 1, pattern, density)
    for zero in (None, 3):
        check("MatMul", bytes_of(dtype, (m, k)), weight, zero, onto, "cpu.sparse_matmul")


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize(
    ("x", "oc", "kernel", "strides", "pads", "pattern"),
    [
        ((1, 16, 9, 11), 24, (3, 3), (1, 1), (1, 1, 1, 1), "4x1"),
        ((2, 32, 8, 7), 40, (1, 1), (1, 1), (0, 0, 0, 0), "4x1"),
        ((1, 48, 9, 9), 32, (1, 1), (2, 2), (0, 0, 0, 0), "unstructured"),
        ((2, 32, 10, 13), 20, (3, 2), (2, 1), (1, 0, 2, 1), "4x1"),
        ((1, 70, 5, 6), 17, (5, 5), (1, 1), (2, 2, 2, 2), "2x1"),
    ],
)
def test_convolutions(
    dtype: str, x: tuple[int, ...], oc: int, kernel: tuple[int, int], strides: tuple[int, int],
    pads: tuple[int, ...], pattern: str, onto: AnyTarget,
) -> None:  # fmt: skip
    weight = sparse((oc, x[1], *kernel), 0, pattern, 0.2)
    attributes = {"kernel_shape": list(kernel), "strides": list(strides), "pads": list(pads)}
    for zero in (None, 5):
        check("Conv", bytes_of(dtype, x), weight, zero, onto, "cpu.conv2d.sparse", **attributes)


@pytest.mark.parametrize("pattern", ["1x4", "4x4", "2x8", "1x16"])
@pytest.mark.parametrize(("m", "k", "n"), [(64, 96, 48), (37, 101, 21), (1, 66, 33), (20, 7, 20), ("m", 83, 18)])
def test_blocks_of_inputs_at_every_point(m: int | str, k: int, n: int, pattern: str, onto: AnyTarget) -> None:
    """Whole entries, between guard pages: ragged rows, depths that four does not divide, depths below a square."""
    machine = onto.machine
    assert isinstance(machine, Cpu)
    weight, x = sparse((k, n), 1, pattern, 0.3), bytes_of("uint8", (9 if m == "m" else m, k))
    space = SparseMatmul().match(product_of_bytes(m, weight, Pattern.parse(pattern)), machine)
    assert not isinstance(space, Refusal)
    made = [space.build(point) for point in space.points()]
    library = compiled_library({f"k{i}": each.func for i, each in enumerate(made)}, CpuBackend(machine))
    for i, implementation in enumerate(made):
        starts, offsets, values, *sums = implementation.packings[1].apply(weight)
        assert offsets.shape[1] == 1  # of four inputs
        inputs = [x, starts, offsets, values, *sums]
        found = run_guarded(library[f"k{i}"], inputs, np.full((len(x), n), -1, np.int32), end=i % 2 == 0)
        np.testing.assert_array_equal(found, x.astype(np.int64) @ weight)


def product_of_bytes(m: int | str, weight: np.ndarray, pattern: Pattern) -> Workload:
    """MatMulInteger by a weight whose type has its pattern, as the pass `sparsity` would have it."""
    graph = Graph.build([("x", tensor(np.uint8, [-1 if m == "m" else m, len(weight)]))])
    encoding = SparseAttr.of(pattern, 1, float(pattern.occupied(matrix_of(weight, 1)).mean()))
    factor = WeightOp(graph.weights.add(weight), with_encoding(tensor(np.int8, weight.shape), encoding))
    product = dsc_onnx.MatMulInteger.make(graph.inputs[0], factor.out, None, None)
    graph.body.add_ops([factor, product])
    graph.set_outputs([("y", product.results[0])])
    return Workload.of(one_fusion(graph, [product]))


@dataclass(frozen=True)
class Requantized:
    """A product of bytes that ends in bytes: ``x @ w`` times a scale for each output, and by rows something more."""

    m: int | str
    weight: np.ndarray
    pattern: Pattern
    element: str
    by_rows: bool = False

    @property
    def scale(self) -> np.ndarray:
        """Powers of two: exact."""
        return np.ldexp(np.float32(1), -(np.arange(self.weight.shape[1]) % 7 + 6)).astype(np.float32)

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the greatest byte."""
        return int(np.iinfo(self.element).min), int(np.iinfo(self.element).max)

    def workload(self) -> Workload:
        k, n = self.weight.shape
        rows = -1 if self.m == "m" else self.m
        graph = Graph.build([("x", tensor(np.uint8, [rows, k])), ("z", tensor(np.float32, [rows, n]))])
        encoding = SparseAttr.of(self.pattern, 1, float(self.pattern.occupied(matrix_of(self.weight, 1)).mean()))
        factor = WeightOp(graph.weights.add(self.weight), with_encoding(tensor(np.int8, self.weight.shape), encoding))
        constants = (self.scale, *(np.array(limit, np.float32) for limit in self.limits))
        scale, low, high = (graph.weight_op(graph.weights.add(each)) for each in constants)
        body = [dsc_onnx.MatMulInteger.make(graph.inputs[0], factor.out, None, None)]
        body.append(dsc_onnx.Cast.make(body[-1].out, to=1))
        body.append(dsc_onnx.Mul.make(body[-1].out, scale.out))
        if self.by_rows:
            body.append(dsc_onnx.Add.make(body[-1].out, graph.inputs[1]))
        body.append(dsc_onnx.Clip.make(body[-1].out, low.out, high.out))
        body.append(dsc_onnx.Round.make(body[-1].out))
        body.append(dsc_onnx.Cast.make(body[-1].out, to=helper.np_dtype_to_tensor_dtype(np.dtype(self.element))))
        graph.body.add_ops([factor, scale, low, high, *body])
        graph.set_outputs([("y", body[-1].results[0])])
        return Workload.of(one_fusion(graph, body))

    def exact(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        scaled = (x.astype(np.int64) @ self.weight) * self.scale.astype(np.float64) + (z if self.by_rows else 0)
        return np.rint(scaled.clip(*self.limits)).astype(self.element)


@pytest.mark.parametrize(
    ("pattern", "by_rows"), [("4x1", False), ("4x1", True), ("2x1", False), ("unstructured", False), ("1x4", False)]
)
@pytest.mark.parametrize(
    ("m", "k", "n", "element"),
    [(64, 96, 48, "uint8"), (37, 101, 21, "int8"), (1, 66, 3, "uint8"), ("m", 83, 18, "int8")],
)
def test_bytes_of_sums(
    m: int | str, k: int, n: int, element: str, pattern: str, by_rows: bool, onto: AnyTarget
) -> None:
    """Between guard pages: made before sums are turned, and after it where rows matter."""
    case = Requantized(m, sparse((k, n), 1, pattern, 0.3), Pattern.parse(pattern), element, by_rows)
    space = SparseMatmul().match(case.workload(), onto.machine)
    assert isinstance(space, SparseMatmulSpace)
    points = space.points()[::2]
    before = not by_rows or m == 1  # of one row, z belongs to the output alone
    for point in points:
        assert space.finishes_first(point) == (before and point.rows % 16 == 0)
    made = [space.build(point) for point in points]
    library = compiled_library({f"k{i}": each.func for i, each in enumerate(made)}, CpuBackend(onto.machine))
    rows = 9 if m == "m" else m
    x, z = bytes_of("uint8", (rows, k)), RANDOM.integers(-99, 99, (rows, n)).astype(np.float32)
    for i, implementation in enumerate(made):
        packed = implementation.packings[1].apply(case.weight)
        inputs = [
            x,
            *packed,
            case.scale,
            *([z] if by_rows else []),
            *(np.array(limit, np.float32) for limit in case.limits),
        ]
        found = run_guarded(library[f"k{i}"], inputs, np.full((rows, n), 77, element), end=i % 2 == 0)
        np.testing.assert_array_equal(found, case.exact(x, z))


def test_blocks_of_two_inputs_are_single_entries(onto: AnyTarget) -> None:
    machine, weight = onto.machine, sparse((64, 32), 1, "4x2", 0.2)
    assert isinstance(machine, Cpu)
    space = SparseMatmul().match(product_of_bytes(20, weight, Pattern(4, 2)), machine)
    assert not isinstance(space, Refusal)
    _, offsets, *_ = space.build(space.points()[0]).packings[1].apply(weight)
    assert offsets.shape[1] == 4


def test_blocks_of_inputs_cost_less_than_single_entries() -> None:
    """By estimate, where VNNI is: they come near blocks of outputs, which entries anywhere do not."""
    machine = target("x86:znver4").machine
    assert isinstance(machine, Cpu)
    machine = replace(machine, cores=1)
    best = {}
    for text in ("4x1", "1x4", "4x4", "unstructured"):
        pattern = Pattern.parse(text)
        space = SparseMatmul().match(product_of_bytes(128, sparse((768, 768), 1, text, 0.1), pattern), machine)
        assert not isinstance(space, Refusal)
        best[text] = min(map(space.estimate, space.points()))
    assert best["4x4"] < best["1x4"] < 1.4 * best["4x1"]
    assert best["unstructured"] > 1.2 * best["1x4"]


def test_without_such_an_instruction_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = target("x86:haswell")
    asked: list[object] = []
    match = SparseMatmul.match

    def watched(self: SparseMatmul, workload: object, machine: Cpu) -> object:
        asked.append(match(self, workload, machine))  # type: ignore[arg-type]
        return asked[-1]

    monkeypatch.setattr(SparseMatmul, "match", watched)
    check("MatMul", bytes_of("uint8", (9, 64)), sparse((64, 32), 1, "4x1", 0.1), None, plain, "cpu.gemm")
    assert "no instruction that multiplies four bytes at once" in str(asked)


def test_where_the_host_has_vnni() -> None:
    if not target("x86").machine.multiply_adds("uint8", "int8", "int32"):
        pytest.skip("the host has no VNNI")
    host = target("x86")
    check("MatMul", bytes_of("uint8", (128, 512)), sparse((512, 256), 1, "4x1", 0.1), 7, host, "cpu.sparse_matmul")
    shape = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    weight = sparse((64, 64, 3, 3), 0, "4x1", 0.1)
    check("Conv", bytes_of("uint8", (1, 64, 28, 28)), weight, 7, host, "cpu.conv2d.sparse", **shape)
