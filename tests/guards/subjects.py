"""What is run with guards: ONNX's node cases, and models of sizes that no vector or tile divides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from tests.codegen.models import model, node_model
from tests.meaning.cases import core_cases

F, I64 = np.float32, np.int64
SEED = 5


@dataclass(frozen=True)
class Subject:
    """A model with inputs."""

    name: str
    model: onnx.ModelProto
    feeds: Mapping[str, np.ndarray]


def subjects() -> Iterator[Subject]:
    """All of them, always the same."""
    yield from sized()
    yield from node_cases()


def node_cases() -> Iterator[Subject]:
    """ONNX's cases of core operators, with what must be known to compile them."""
    for case in core_cases():
        yield Subject(case.name, case.model, case.feeds)


def sized() -> Iterator[Subject]:
    """Kernels on random ragged sizes: static ones, and the same where all sizes are free."""
    rng = np.random.default_rng(SEED)
    for round_ in range(4):
        for kind, make in _KINDS.items():
            proto, shapes = make(rng)
            feeds = {name: _random(rng, dtype, shape) for name, (dtype, shape) in shapes.items()}
            yield Subject(f"{kind} {round_}", proto, feeds)
            yield Subject(f"{kind} {round_}, static", _pinned(proto, shapes), feeds)


Shapes = dict[str, tuple[type, Sequence[int]]]
Made = tuple[onnx.ModelProto, Shapes]


def _pinned(proto: onnx.ModelProto, shapes: Shapes) -> onnx.ModelProto:
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    for value in fixed.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, shapes[value.name][1], strict=True):
            dim.dim_value = size
    return fixed


def _dims(rng: np.random.Generator, rank: int, most: int = 37) -> list[int]:
    return [int(d) for d in rng.integers(1, most, rank)]


def _random(rng: np.random.Generator, dtype: type, shape: Sequence[int]) -> np.ndarray:
    if issubclass(dtype, np.integer):  # some are indices
        return rng.integers(0, 2, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def _free(name: str, rank: int) -> list[str]:
    return [f"{name}{axis}" for axis in range(rank)]


def _weight(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(F)


def _matmul(rng: np.random.Generator) -> Made:
    m, k, n = _dims(rng, 3)
    return node_model("MatMul", {"x": (F, ["m", "k"])}, {"w": _weight(rng, k, n)}, (F, 2)), {"x": (F, (m, k))}


def _products(rng: np.random.Generator) -> Made:
    b, m, k, n = _dims(rng, 4, 23)
    inputs = {"x": (F, _free("x", 3)), "z": (F, _free("z", 3))}
    return node_model("MatMul", inputs, None, (F, 3)), {"x": (F, (b, m, k)), "z": (F, (b, k, n))}


def _bytes(rng: np.random.Generator) -> Made:
    m, k, n = _dims(rng, 3)
    weights = {"w": rng.integers(-128, 128, (k, n)).astype(np.int8), "z": np.array(rng.integers(0, 256), np.uint8)}
    proto = node_model("MatMulInteger", {"x": (np.uint8, ["m", k])}, weights, (np.int32, 2))
    return proto, {"x": (np.uint8, (m, k))}


def _products_of_bytes(rng: np.random.Generator) -> Made:
    m, k, n = _dims(rng, 3)
    inputs = {"x": (np.int8, ["m", "k"]), "z": (np.uint8, ["l", "n"])}
    return node_model("MatMulInteger", inputs, None, (np.int32, 2)), {"x": (np.int8, (m, k)), "z": (np.uint8, (k, n))}


def _gemm(rng: np.random.Generator) -> Made:
    m, k, n = _dims(rng, 3)
    proto = node_model("Gemm", {"x": (F, ["k", "m"])}, {"w": _weight(rng, n, k), "c": _weight(rng, n)}, (F, 2),
                       transA=1, transB=1)  # fmt: skip
    return proto, {"x": (F, (k, m))}


def _conv(rng: np.random.Generator, channels: int = 3, filters: int = 8, group: int = 1, kernel: int = 3) -> Made:
    h, w = (int(d) for d in rng.integers(5, 21, 2))
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 0, 1, 1], group=group,
                         strides=[int(rng.integers(1, 3))] * 2),
        helper.make_node("Relu", ["c"], ["y"]),
    ]  # fmt: skip
    weights = {"w": _weight(rng, filters, channels // group, kernel, kernel), "b": _weight(rng, filters)}
    proto = model(nodes, {"x": (F, ["n", channels, "h", "w"])}, {"y": (F, _free("y", 4))}, weights)
    return proto, {"x": (F, (int(rng.integers(1, 3)), channels, h, w))}


def _chain(rng: np.random.Generator) -> Made:
    """Packed layouts: a stem, a 3x3, a depthwise and a pointwise convolution."""
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1] * 4),
        helper.make_node("Conv", ["a", "w1"], ["b"], pads=[1] * 4),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "w2"], ["d"], pads=[1] * 4, group=16),
        helper.make_node("Conv", ["d", "w3"], ["e"]),
        helper.make_node("Add", ["e", "c"], ["f"]),
        helper.make_node("GlobalAveragePool", ["f"], ["y"]),
    ]
    weights = {
        "w0": _weight(rng, 16, 3, 3, 3), "w1": _weight(rng, 16, 16, 3, 3), "w2": _weight(rng, 16, 1, 3, 3),
        "w3": _weight(rng, 16, 16, 1, 1),
    }  # fmt: skip
    h, w = (int(d) for d in rng.integers(3, 18, 2))
    proto = model(nodes, {"x": (F, ["n", 3, "h", "w"])}, {"y": (F, ["n", 16, 1, 1])}, weights)
    return proto, {"x": (F, (1, 3, h, w))}


def _attention(rng: np.random.Generator) -> Made:
    b, s, t, d, e = _dims(rng, 5, 19)
    nodes = [
        helper.make_node("MatMul", ["q", "k"], ["p"]),
        helper.make_node("Softmax", ["p"], ["s"], axis=-1),
        helper.make_node("MatMul", ["s", "v"], ["y"]),
    ]
    inputs = {"q": (F, ["b", "s", d]), "k": (F, ["b", d, "t"]), "v": (F, ["b", "t", e])}
    shapes: Shapes = {"q": (F, (b, s, d)), "k": (F, (b, d, t)), "v": (F, (b, t, e))}
    return model(nodes, inputs, {"y": (F, ["b", "s", e])}), shapes


def _norm(rng: np.random.Generator) -> Made:
    rows, columns = _dims(rng, 2, 70)
    nodes = [
        helper.make_node("Add", ["x", "z"], ["s"]),
        helper.make_node("LayerNormalization", ["s", "w", "b"], ["n"], axis=-1),
        helper.make_node("Softmax", ["n"], ["y"], axis=-1),
    ]
    inputs = {name: (F, ["a", columns]) for name in "xz"}
    weights = {"w": _weight(rng, columns), "b": _weight(rng, columns)}
    proto = model(nodes, inputs, {"y": (F, ["a", columns])}, weights)
    return proto, dict.fromkeys("xz", (F, (rows, columns)))


def _unary(op: str, rank: int = 2, **attributes: object) -> object:
    def make(rng: np.random.Generator) -> Made:
        shape = _dims(rng, rank, 70 if rank < 3 else 21)
        proto = node_model(op, {"x": (F, _free("x", rank))}, None, (F, rank), **attributes)
        return proto, {"x": (F, shape)}

    return make


def _reduce(op: str, axis: int) -> object:
    def make(rng: np.random.Generator) -> Made:
        proto = node_model(op, {"x": (F, _free("x", 3))}, {"axes": np.array([axis])}, (F, 3))
        return proto, {"x": (F, _dims(rng, 3, 23))}

    return make


def _running(axis: int) -> object:
    def make(rng: np.random.Generator) -> Made:
        proto = node_model("CumSum", {"x": (F, _free("x", 3))}, {"axis": np.array(axis)}, (F, 3))
        return proto, {"x": (F, _dims(rng, 3, 70))}

    return make


def _broadcast(rng: np.random.Generator) -> Made:
    a, b, c = _dims(rng, 3, 23)
    inputs = {"x": (F, _free("x", 3)), "z": (F, _free("z", 2))}
    return node_model("Add", inputs, None, (F, 3)), {"x": (F, (a, b, c)), "z": (F, (b, 1))}


def _concat(rng: np.random.Generator) -> Made:
    a, b, c = _dims(rng, 3, 40)
    inputs = {"x": (F, _free("x", 2)), "z": (F, _free("z", 2))}
    return node_model("Concat", inputs, None, (F, 2), axis=1), {"x": (F, (a, b)), "z": (F, (a, c))}


def _slice(rng: np.random.Generator) -> Made:
    shape = _dims(rng, 2, 40)
    step = int(rng.choice([-3, -1, 1, 2]))
    limits = {"s": np.array([int(rng.integers(-50, 50))]), "e": np.array([int(rng.integers(-50, 50))])}
    constants = {**limits, "a": np.array([1]), "t": np.array([step])}
    return node_model("Slice", {"x": (F, _free("x", 2))}, constants, (F, 2)), {"x": (F, shape)}


def _gather(rng: np.random.Generator) -> Made:
    rows, columns, count = (int(d) + 1 for d in rng.integers(1, 30, 3))
    inputs = {"x": (F, _free("x", 2)), "i": (I64, ["n"])}
    return node_model("Gather", inputs, None, (F, 2)), {"x": (F, (rows, columns)), "i": (I64, (count,))}


def _scatter(rng: np.random.Generator) -> Made:
    rows, columns, count = (int(d) + 1 for d in rng.integers(1, 30, 3))
    inputs = {"x": (F, _free("x", 2)), "i": (I64, ["n", 1]), "u": (F, _free("u", 2))}
    shapes: Shapes = {"x": (F, (rows, columns)), "i": (I64, (count, 1)), "u": (F, (count, columns))}
    return node_model("ScatterND", inputs, None, (F, 2)), shapes


def _resize(rng: np.random.Generator) -> Made:
    scales = np.array([1, 1, *rng.uniform(0.4, 2.7, 2)], F)
    mode = str(rng.choice(["nearest", "linear", "cubic"]))
    order = ["x", "", "scales"]
    proto = node_model("Resize", {"x": (F, _free("x", 4))}, {"scales": scales}, (F, 4), order=order, mode=mode)
    return proto, {"x": (F, [1, 2, *(int(d) for d in rng.integers(3, 20, 2))])}


def _pad(rng: np.random.Generator) -> Made:
    pads = np.array([int(p) for p in rng.integers(0, 3, 4)])
    mode = str(rng.choice(["constant", "reflect", "edge", "wrap"]))
    shape = [int(d) for d in rng.integers(4, 30, 2)]
    return node_model("Pad", {"x": (F, _free("x", 2))}, {"p": pads}, (F, 2), mode=mode), {"x": (F, shape)}


def _top_k(rng: np.random.Generator) -> Made:
    rows, columns = (int(d) for d in rng.integers(4, 30, 2))
    node = helper.make_node("TopK", ["x", "k"], ["y", "i"])
    outputs = {"y": (F, _free("y", 2)), "i": (I64, _free("y", 2))}
    return model([node], {"x": (F, _free("x", 2))}, outputs, {"k": np.array([3])}), {"x": (F, (rows, columns))}


_KINDS = {
    "matmul": _matmul,
    "batched matmul": _products,
    "gemm": _gemm,
    "matmul of bytes": _bytes,
    "computed matmul of bytes": _products_of_bytes,
    "conv": _conv,
    "conv of 16 channels": lambda rng: _conv(rng, 16, 32),
    "depthwise": lambda rng: _conv(rng, 16, 16, 16),
    "odd depthwise": lambda rng: _conv(rng, 5, 5, 5),
    "pointwise": lambda rng: _conv(rng, 24, 12, 1, 1),
    "grouped": lambda rng: _conv(rng, 6, 9, 3),
    "chain of convolutions": _chain,
    "attention": _attention,
    "norm": _norm,
    "transpose": _unary("Transpose", 2),
    "transpose of 4": _unary("Transpose", 4, perm=[0, 2, 3, 1]),
    "exponential": _unary("Exp", 2),
    "softmax over rows": _unary("Softmax", 3, axis=1),
    "running sum": _running(2),
    "running sum of rows": _running(1),
    "max pool": _unary("MaxPool", 4, kernel_shape=[3, 2], pads=[1, 0, 1, 1], strides=[2, 1]),
    "average pool": _unary("AveragePool", 4, kernel_shape=[2, 3], pads=[0, 1, 1, 1], strides=[1, 2]),
    "sum of rows": _reduce("ReduceSum", 1),
    "largest of rows": _reduce("ReduceMax", 2),
    "broadcast": _broadcast,
    "concat": _concat,
    "slice": _slice,
    "gather": _gather,
    "scatter": _scatter,
    "resize": _resize,
    "pad": _pad,
    "top k": _top_k,
}
