"""What becomes float32 in models of half precision, what stays, and that values are what they were meant to be."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from xdsl.ir import SSAValue

import dsc.models as zoo
from dsc.exchange import import_model
from dsc.ir import FusionOp, Graph, OnnxOp, element_of, is_constant
from dsc.lower.workload import Workload
from dsc.passes import Pipeline
from dsc.pipeline import preset
from dsc.targets import target
from tests.compiled import TextModel
from tests.halves import halved
from tests.passes.net import run, summary

BF16 = np.dtype(ml_dtypes.bfloat16)
HALVES = {"float16": np.dtype(np.float16), "bfloat16": BF16}


def widened(text: str, passes: str = "canonicalize,widen", **weights: np.ndarray) -> Graph:
    graph = import_model(TextModel(text, weights).proto())
    Pipeline.parse(passes).run(graph)
    return graph


def stored(value: SSAValue) -> str:
    return element_of(value.type).dtype.name


def constants(graph: Graph) -> list[np.ndarray]:
    found = [graph.constant(op.results[0]) for op in graph.ops() if op.results and is_constant(op.results[0])]
    return [array for array in found if array is not None]


@pytest.mark.parametrize("half", HALVES)
def test_casts_are_at_the_edges_only(half: str) -> None:
    """A value that is an output and is read on is rounded for the caller alone."""
    w = np.random.default_rng(0).standard_normal((80, 80)).astype(HALVES[half])
    graph = widened(
        f"({half}[n,80] x) => ({half}[n,80] y, {half}[n,80] z) {{ a = MatMul(x, w) y = Relu(a) z = Tanh(y) }}", w=w
    )
    assert summary(graph) == ["Cast", "MatMul", "Relu", "Cast", "Tanh", "Cast"]
    assert [stored(v) for v in (*graph.inputs, *graph.outputs)] == [half] * 3
    matmul, relu, tanh = (op for op in graph.ops() if op.name in ("onnx.MatMul", "onnx.Relu", "onnx.Tanh"))
    assert {stored(v) for op in (matmul, relu, tanh) for v in (*op.operands, *op.results)} == {"float32"}
    assert relu.results[0] is tanh.operands[0]
    (weight,) = constants(graph)
    assert weight.dtype == np.float32
    np.testing.assert_array_equal(weight, w.astype(np.float32))


@pytest.mark.parametrize("half", HALVES)
def test_every_constant_is_exact(half: str) -> None:
    """All bit patterns: subnormals, infinities, NaN, zeros of both signs."""
    every = np.arange(1 << 16, dtype=np.uint16).view(HALVES[half])
    graph = widened(f"({half}[65536] x) => ({half}[65536] y) {{ y = Add(x, w) }}", w=every)
    (weight,) = constants(graph)
    np.testing.assert_array_equal(weight, every.astype(np.float32))
    np.testing.assert_array_equal(np.signbit(weight), np.signbit(every))


def test_a_weight_of_several_readers_is_widened_once_and_no_other_is_left() -> None:
    w = np.random.default_rng(1).standard_normal((16, 16)).astype(np.float16)
    graph = widened("(float16[4,16] x) => (float16[4,16] y) { a = MatMul(x, w) b = Tanh(a) y = MatMul(b, w) }", w=w)
    assert [array.dtype for array in constants(graph)] == [np.float32]


def test_what_is_float32_stays_what_it_is() -> None:
    """A Cast that the model asks for rounds, and infinity is what it makes of 70000."""
    text = "(float[3] x) => (float[3] y, float[3] z) { a = Cast<to=10>(x) y = Cast<to=1>(a) z = Exp(y) }"
    graph = widened(text)
    assert summary(graph) == ["Cast", "Cast", "Exp"]
    (y, _) = run(graph, {"x": np.float32([70000, 1.0001, 2049])})
    assert y.tolist() == [np.inf, 1.0, 2048.0]


def test_islands_of_float32_are_what_they_were() -> None:
    """Into the island a Cast is nothing; out of it one rounds."""
    text = """(float16[4,8] x) => (float16[4,8] y) {
        a = Mul(x, x) b = Cast<to=1>(a) c = Softmax(b) d = Cast<to=10>(c) y = Add(d, a)
    }"""
    graph = widened(text)
    assert summary(graph) == ["Cast", "Mul", "Softmax", "Cast", "Cast", "Add", "Cast"]
    multiply, softmax = (op for op in graph.ops() if op.name in ("onnx.Mul", "onnx.Softmax"))
    assert softmax.operands[0] is multiply.results[0]


READ_AS_ROUNDED = {
    "y = IsInf(a)": "bool[5]",
    "y = IsNaN(a)": "bool[5]",
    "y = Greater(a, x)": "bool[5]",
    "y = ArgMax<axis=0>(a)": "int64[1]",
    "y = Cast<to=7>(a)": "int64[5]",
    "y = BitCast<to=4>(a)": "uint16[5]",
    "y = Floor(a)": "float16[5]",
    "y = Sign(a)": "float16[5]",
    "v, y = TopK(a, two)": "int64[2]",
    "y = QuantizeLinear(a, s)": "uint8[5]",
}
"""Operators for which a rounding decides, and what they give."""


@pytest.mark.parametrize("op", READ_AS_ROUNDED)
def test_where_a_rounding_decides_it_is_made(op: str) -> None:
    """a, of float32 by then, is rounded before them: the operand of the op itself is float16."""
    text = f"(float16[5] x) => ({READ_AS_ROUNDED[op]} y) {{ a = Add(x, x) {op} }}"
    model = TextModel(text, {"two": np.array([2]), "s": np.float16(0.1)}, opset=26)
    graph = import_model(model.proto())
    Pipeline.parse("widen").run(graph)
    add, reader = next(each for each in graph.ops() if each.name == "onnx.Add"), graph.outputs[0].owner
    assert isinstance(reader, OnnxOp)
    assert f"= {reader.onnx_name}" in op
    assert stored(add.results[0]) == "float32"
    assert stored(reader.operands[0]) == "float16"


def test_tables_are_gathered_from_in_half_precision() -> None:
    """What moves elements of what is in half precision has less to move so; only what is read becomes float32."""
    table = np.random.default_rng(2).standard_normal((100, 8)).astype(np.float16)
    graph = widened("(int64[n] i) => (float16[n,8] y) { a = Gather(table, i) y = Sqrt(a) }", table=table)
    assert summary(graph) == ["Gather", "Cast", "Sqrt", "Cast"]
    assert [array.dtype for array in constants(graph)] == [np.float16]


def test_sizes_are_no_reason_to_round() -> None:
    graph = widened("(float16[n,8] x) => (int64[2] s, float16[n,8] y) { y = Tanh(x) s = Shape(y) }", "widen")
    shape = next(op for op in graph.ops() if op.name == "onnx.Shape")
    assert stored(shape.operands[0]) == "float32"
    assert summary(graph).count("Cast") == 2


def test_bodies_of_control_flow_read_what_the_model_says() -> None:
    text = """(float16[2] x, bool[1] c) => (float16[2] y) {
        a = Add(x, x)
        y = If(c) <then_branch = t () => (float16[2] u) { u = Neg(a) }, else_branch = e () => (float16[2] v) {
            v = Mul(a, a) }>
    }"""
    graph = widened(text)
    graph.verify()
    x = np.float16([1.5, -3])
    for condition, expected in ((True, -2 * x), (False, 4 * x * x)):
        (found,) = run(graph, {"x": x, "c": np.array([condition])})
        np.testing.assert_array_equal(found, expected)


def test_cpus_widen_from_level_1_on_and_gpus_do_not() -> None:
    for level in range(4):
        assert ("widen" in str(preset(level, target("x86:znver3")))) == (level > 0)
        assert ("widen" in str(preset(level, target("arm:cortex-a76")))) == (level > 0)
        assert "widen" not in str(preset(level, target("cuda:sm_80")))


def test_a_float16_efficientnet_has_the_kernels_of_the_float32_one() -> None:
    """Every region is the same work, to the last constant of its key; only the last one rounds the logits besides, and
    one Cast is of the image."""
    model = onnx.load(zoo.fetch("efficientnet-lite0"))
    onto = target("x86:znver3")
    keys = {}
    for name, source in (("float32", model), ("float16", halved(model, np.float16))):
        graph = import_model(source)
        preset(2, onto).run(graph)
        assert {stored(v) for v in graph.inputs} == {name}
        keys[name] = [Workload.of(op).key() for op in graph.ops() if isinstance(op, FusionOp)]
        assert summary(graph).count("Cast") == (name == "float16")
    assert len(keys["float16"]) == len(keys["float32"]) == 51
    assert [a == b for a, b in zip(*keys.values(), strict=True)] == [True] * 50 + [False]
