"""The pass weight-only: weights of few bits stay, in one form; gathered rows; what is not taken becomes floats."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np
import pytest

from dsc.ir import Graph, onnx, tensor
from dsc.ir.types import tensor_of_dims
from dsc.passes.canonicalize import Canonicalize
from dsc.passes.weight_only import WeightOnly
from dsc.pipeline import compile_model, preset
from dsc.targets import target
from tests.passes.net import F32, Net, run

RANDOM = np.random.default_rng(5)
INT4, UINT4 = np.dtype(ml_dtypes.int4), np.dtype(ml_dtypes.uint4)
I64 = tensor(np.int64, (1,)).element_type


def integers(dtype: np.dtype, *shape: int) -> np.ndarray:
    low, high = {"int4": (-8, 8), "uint4": (0, 16), "int8": (-128, 128), "uint8": (0, 256)}[dtype.name]
    return RANDOM.integers(low, high, shape).astype(dtype)


def scales(*shape: int) -> np.ndarray:
    return RANDOM.uniform(0.1, 1, shape).astype(np.float32)


def optimized(graph: Graph) -> tuple[Graph, WeightOnly]:
    """After the two passes; with the record of the second."""
    before = graph.clone()
    Canonicalize(keep_weights=True).run(before)
    record = WeightOnly().run(before)
    before.verify()
    return before, record


def names(graph: Graph) -> list[str]:
    return [op.onnx_name for op in graph.ops() if hasattr(op, "onnx_name") and op.onnx_name != "Constant"]


def constants(graph: Graph) -> list[tuple[str, tuple[int, ...]]]:
    """Types and shapes of what is constant and no scalar."""
    found = [graph.constant(op.results[0]) for op in graph.ops()]
    return sorted((array.dtype.name, array.shape) for array in found if array is not None and array.size > 1)


def product(weight: Sequence[np.ndarray], transposed: bool = False, rows: int | str = "m", **attributes: int) -> Graph:
    net = Net(x=(rows, weight[0].shape[1 if transposed else 0]))
    (x,) = net.inputs()
    w = net.DequantizeLinear(*weight, **attributes)
    return net.done(net.MatMul(x, net.Transpose(w, perm=[1, 0]) if transposed else w))


def same_results(graph: Graph, after: Graph, feeds: dict[str, np.ndarray], exactly: bool = False) -> None:
    for found, expected in zip(run(after, feeds), run(graph, feeds), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0 if exactly else 1e-4, atol=0 if exactly else 1e-4)


@pytest.mark.parametrize(
    ("weight", "attributes", "after"),
    [
        (
            [integers(INT4, 40, 6), scales(2, 6)], {"axis": 0, "block_size": 24},
            [("float32", (2, 6)), ("int4", (40, 6))],
        ),
        (
            [integers(UINT4, 6, 40), scales(6, 3), np.full((6, 3), 8, UINT4)], {"axis": 1, "block_size": 16},
            [("float32", (3, 6)), ("int4", (40, 6))],
        ),
        (
            [integers(UINT4, 40, 6), scales(5, 6), integers(UINT4, 5, 6)], {"axis": 0, "block_size": 8},
            [("float32", (5, 6)), ("uint4", (5, 6)), ("uint4", (40, 6))],
        ),
        ([integers(np.dtype(np.int8), 12, 6), scales(6)], {"axis": 1}, [("float32", (1, 6)), ("int8", (12, 6))]),
        ([integers(np.dtype(np.int8), 12, 6), scales()], {}, [("float32", (1, 6)), ("int8", (12, 6))]),
        (
            [np.clip(integers(np.dtype(np.uint8), 6, 12), 3, 130), scales(6), np.full(6, 3, np.uint8)], {"axis": 0},
            [("float32", (1, 6)), ("int8", (12, 6))],
        ),
    ],
    ids=["blocks", "transposed, middle", "zero points", "columns", "one scale", "rows, transposed"],
)  # fmt: skip
def test_one_form(
    weight: list[np.ndarray], attributes: dict[str, int], after: list[tuple[str, tuple[int, ...]]]
) -> None:
    graph = product(weight, transposed=weight[0].shape[0] == 6, **attributes)
    found, _ = optimized(graph)
    assert names(found) == ["DequantizeLinear", "MatMul"]
    assert constants(found) == after
    (dequantize,) = (op for op in found.ops() if isinstance(op, onnx.DequantizeLinear))
    assert dequantize.attr("axis") == 0
    same_results(graph, found, {"x": RANDOM.standard_normal((3, len(found.constant(dequantize.x))), np.float32)})


NAN = np.full((2, 6), np.nan, np.float32)


@pytest.mark.parametrize(
    ("weight", "attributes", "reason"),
    [
        ([integers(INT4, 40, 6), scales(4, 6)], {"axis": 0, "block_size": 12}, "groups of 12 are no whole words"),
        ([integers(INT4, 40, 6), scales(40, 2)], {"axis": 1, "block_size": 4}, "the blocks do not go along the depth"),
        ([integers(INT4, 40, 6), scales(40)], {"axis": 0}, "each step of the depth has a scale of its own"),
        ([integers(INT4, 32, 6), NAN], {"axis": 0, "block_size": 16}, "a scale is not finite"),
    ],
)
def test_refused_weights_are_floats(weight: list[np.ndarray], attributes: dict[str, int], reason: str) -> None:
    graph = product(weight, **attributes)
    found, record = optimized(graph)
    assert names(found) == ["MatMul"]
    assert any(reason in miss for miss in map(str, record.near_misses())), record.near_misses()


def test_what_others_read_too_is_folded() -> None:
    net = Net(x=("m", 16), y=(16, 6))
    x, y = net.inputs()
    w = net.DequantizeLinear(integers(INT4, 16, 6), scales(1, 6), axis=0, block_size=16)
    found, _ = optimized(net.done(net.MatMul(x, w), net.Add(w, y)))
    assert sorted(names(found)) == ["Add", "MatMul"]


def test_one_weight_of_two_products_and_a_table() -> None:
    """Tied embeddings: rows are gathered, and the transposed table is multiplied by."""
    graph = Graph.build([("i", tensor_of_dims(I64, ("m",))), ("x", tensor_of_dims(F32, ("m", 32)))])
    weight = [integers(UINT4, 10, 32), scales(10, 2), integers(UINT4, 10, 2)]
    made = [graph.make_constant(array) for array in weight]
    table = onnx.DequantizeLinear.make(*(op.results[0] for op in made), axis=1, block_size=16)
    turned = onnx.Transpose.make(table.results[0], perm=[1, 0])
    rows = onnx.Gather.make(table.results[0], graph.inputs[0], axis=0)
    products = [onnx.MatMul.make(value, turned.results[0]) for value in (rows.results[0], graph.inputs[1])]
    graph.body.add_ops([*made, table, turned, rows, *products])
    graph.set_outputs([(f"y{i}", op.results[0]) for i, op in enumerate(products)])
    found, _ = optimized(graph)
    kinds = names(found)
    assert kinds.count("DequantizeLinear") == 3
    assert not [shape for name, shape in constants(found) if name == "float32" and 10 in shape and 32 in shape]
    feeds = {"i": RANDOM.integers(0, 10, 5), "x": RANDOM.standard_normal((5, 32), np.float32)}
    same_results(graph, found, feeds)


@pytest.mark.parametrize(
    ("dtype", "zeros", "depth", "block", "bytes_"),
    [
        (INT4, False, 24, 16, 12), (UINT4, True, 24, 10, 12), (UINT4, False, 24, 24, 12),
        (np.dtype(np.int8), False, 7, 4, 7), (np.dtype(np.uint8), True, 7, 16, 7),
    ],
    ids=str,
)  # fmt: skip
def test_rows_of_a_table(dtype: np.dtype, zeros: bool, depth: int, block: int, bytes_: int) -> None:
    """Exactly the rows of the dequantized table, of which only bytes are stored."""
    groups = -(-depth // block)
    graph = Graph.build([("i", tensor_of_dims(I64, ("b", "t")))])
    weight = [integers(dtype, 11, depth), scales(11, groups), *([integers(dtype, 11, groups)] if zeros else [])]
    made = [graph.make_constant(array) for array in weight]
    table = onnx.DequantizeLinear.make(*(op.results[0] for op in made), axis=1, block_size=block)
    rows = onnx.Gather.make(table.results[0], graph.inputs[0], axis=0)
    graph.body.add_ops([*made, table, rows])
    graph.set_outputs([("y", rows.results[0])])
    found, _ = optimized(graph)
    stored = [(name, shape) for name, shape in constants(found) if shape[0] == 11 and name != "float32"]
    assert stored[-1][1] == (11, bytes_) or stored[0][1] == (11, bytes_)
    feeds = {"i": RANDOM.integers(-11, 11, (2, 3))}
    expected = run(graph, feeds)[0]
    np.testing.assert_array_equal(run(found, feeds)[0], expected)
    if zeros and dtype == UINT4:
        np.testing.assert_array_equal(compile_model(graph).model.load(1).run(feeds)["y"], expected)


def test_a_row_of_no_whole_bytes_is_floats() -> None:
    graph = Graph.build([("i", tensor_of_dims(I64, ("b",)))])
    made = [graph.make_constant(array) for array in (integers(INT4, 11, 7), scales(11, 1))]
    table = onnx.DequantizeLinear.make(*(op.results[0] for op in made), axis=1, block_size=7)
    rows = onnx.Gather.make(table.results[0], graph.inputs[0], axis=0)
    graph.body.add_ops([*made, table, rows])
    graph.set_outputs([("y", rows.results[0])])
    found, record = optimized(graph)
    assert names(found) == ["Gather"]
    assert any("no whole number of bytes" in miss for miss in map(str, record.near_misses()))


def test_weights_stay_packed_in_the_artifact() -> None:
    graph = product([integers(INT4, 256, 96), scales(4, 96)], rows=4, axis=0, block_size=64)
    compilation = compile_model(graph)
    (choice,) = compilation.model.choices
    assert choice.kernel == "cpu.weight_only"
    assert sum(weight.size for weight in compilation.model.weights) == 256 * 96 // 2 + 4 * 4 * 96


def test_presets() -> None:
    """CPUs keep weights at -O2; GPUs, and lower levels, compute with floats."""
    assert "weight-only" in str(preset(2, target("x86")))
    assert "weight-only" in str(preset(2, target("arm:cortex-a76")))
    assert "weight-only" not in str(preset(1, target("x86")))
    assert "weight-only" not in str(preset(2, target("cuda:sm_80")))
    graph = product([integers(INT4, 32, 6), scales(2, 6)], axis=0, block_size=16)
    feeds = {"x": RANDOM.standard_normal((3, 32), np.float32)}
    results = [compile_model(graph, opt_level=level).model.load(1).run(feeds)["out0"] for level in (0, 2)]
    np.testing.assert_allclose(results[1], results[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("shape", "expected"), [((1, 6), (1, 6)), ((6,), (1, 6)), ((), (1, 6))], ids=str)
def test_dequantized_by_hand(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Cast and Mul, as converters write it that know no DequantizeLinear."""
    net = Net(x=("m", 32))
    (x,) = net.inputs()
    weight = net.Mul(net.Cast(integers(np.dtype(np.int8), 32, 6), to=1), scales(*shape))
    graph = net.done(net.MatMul(x, weight))
    found, _ = optimized(graph)
    assert names(found) == ["DequantizeLinear", "MatMul"]
    assert constants(found) == [("float32", expected), ("int8", (32, 6))]
    same_results(graph, found, {"x": RANDOM.standard_normal((3, 32), np.float32)})


def test_a_table_dequantized_by_hand() -> None:
    graph = Graph.build([("i", tensor_of_dims(I64, ("b",)))])
    made = [graph.make_constant(array) for array in (integers(np.dtype(np.int8), 20, 5), scales(20, 1))]
    wide = onnx.Cast.make(made[0].results[0], to=1)
    table = onnx.Mul.make(made[1].results[0], wide.results[0])
    rows = onnx.Gather.make(table.results[0], graph.inputs[0], axis=0)
    graph.body.add_ops([*made, wide, table, rows])
    graph.set_outputs([("y", rows.results[0])])
    found, _ = optimized(graph)
    assert names(found) == ["Gather", "Gather", "DequantizeLinear"]
    same_results(graph, found, {"i": RANDOM.integers(0, 20, 4)}, exactly=True)


def test_what_is_scaled_by_hand_otherwise_is_folded() -> None:
    net = Net(x=("m", 32), y=(32, 6))
    x, y = net.inputs()
    w = integers(np.dtype(np.int8), 32, 6)
    by_row = net.Mul(net.Cast(w, to=1), scales(32, 6))
    added = net.Mul(net.Cast(w, to=1), scales(6))
    found, _ = optimized(net.done(net.MatMul(x, by_row), net.Add(added, y)))
    assert sorted(names(found)) == ["Add", "MatMul"]
