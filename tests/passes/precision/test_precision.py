"""What is stored and multiplied in half precision, and what is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from xdsl.ir import SSAValue

from dsc.errors import UsageError
from dsc.exchange import import_model
from dsc.ir import FusionOp, Graph, dims_of, element_of, multiplied_as, onnx, tensor
from dsc.passes import Pipeline
from dsc.passes.precision.ranges import Range, Ranges
from tests.compiled import TextModel
from tests.passes.net import Net, feeds, run, summary

F16, F32 = "float16", "float32"


def rounded(graph: Graph, type_: str = F16) -> Graph:
    """The graph fused, then with the pass."""
    Pipeline.parse(f"fuse,precision{{type={type_}}}").run(graph)
    return graph


def stored(value: SSAValue) -> str:
    return element_of(value.type).dtype.name


def regions(graph: Graph) -> list[FusionOp]:
    return [op for op in graph.ops() if isinstance(op, FusionOp)]


def check_near(before: Graph, after: Graph, bound: float = 1e-2) -> None:
    """Outputs are of the types they were, and near: each rounding is 2^-12 of a number."""
    inputs = feeds(before)
    for expected, found in zip(run(before, inputs), run(after, inputs), strict=True):
        assert found.dtype == expected.dtype
        assert 0 < np.abs(found - expected).max() <= bound * np.abs(expected).max()


def two_convolutions() -> Graph:
    net = Net(x=(1, 3, 9, 7))
    y = net.Relu(net.Conv(net.inputs()[0], net.random(72, 3, 3, 3), net.random(72)))
    return net.done(net.Relu(net.Conv(y, net.random(5, 72, 3, 3))))


def test_regions_read_and_write_half_precision_and_compute_in_float32() -> None:
    before, after = two_convolutions(), rounded(two_convolutions())
    first, second = regions(after)
    assert summary(after) == ["conv(Cast Conv Relu Cast)", "conv(Cast Cast Conv Relu)"]
    assert [stored(v) for v in first.operands] == [F32, F16, F32], "an input of the model, a weight, a bias"
    assert stored(first.results[0]) == F16
    assert [stored(v) for v in second.operands] == [F16, F16]
    assert [stored(v) for v in after.outputs] == [F32]
    convolutions = [op for region in regions(after) for op in region.block.ops if isinstance(op, onnx.Conv)]
    assert {stored(v) for op in convolutions for v in (*op.operands, *op.results)} == {F32}
    assert [multiplied_as(region) for region in regions(after)] == [F16, F16]
    check_near(before, after)


def test_bfloat16_is_the_same_with_fewer_digits() -> None:
    after = rounded(two_convolutions(), "bfloat16")
    assert stored(regions(after)[0].results[0]) == "bfloat16"
    assert multiplied_as(regions(after)[0]) == "bfloat16"
    check_near(two_convolutions(), after, bound=4e-2)


def test_tf32_only_marks_products() -> None:
    plain, after = two_convolutions(), rounded(two_convolutions(), "tfloat32")
    Pipeline.parse("fuse").run(plain)
    assert summary(after) == summary(plain)
    assert {multiplied_as(region) for region in regions(after)} == {"tfloat32"}
    assert {stored(v) for region in regions(after) for v in (*region.operands, *region.results)} == {F32}


def test_a_weight_is_made_once_and_the_float32_one_is_gone() -> None:
    net = Net(x=(2, 20))
    (x,) = net.inputs()
    w = net.value(net.random(20, 20))
    graph = rounded(net.done(net.Add(net.MatMul(net.Relu(net.MatMul(x, w)), w), x)))
    weights = [op.results[0] for op in graph.ops() if op.name == "dsc.weight"]
    assert [stored(v) for v in weights] == [F16]
    assert len(list(weights[0].uses)) == 2


@pytest.mark.parametrize(
    ("between", "expected"),
    [
        (lambda net, x: net.Softmax(x), Range.KEPT),
        (lambda net, x: net.LayerNormalization(x, net.random(8), axis=-1), Range.KEPT),
        (lambda net, x: net.Sigmoid(x), Range.KEPT),
        (lambda net, x: net.ReduceMean(x, np.array([1]), keepdims=1), Range.KEPT),
        (lambda net, x: net.Mul(x, net.Sigmoid(x)), Range.KEPT),
        (lambda net, x: net.Div(x, net.Sqrt(net.ReduceMean(net.Mul(x, x), np.array([1]), keepdims=1))), Range.KEPT),
        (lambda net, x: net.Max(x, np.float32(1e-12)), Range.KEPT),
        (lambda net, x: net.Where(np.ones((1, 8), bool), x, np.float32(-np.inf)), Range.KEPT),
        (lambda net, x: net.Exp(x), Range.WIDE),
        (lambda net, x: net.Pow(x, np.float32(3)), Range.WIDE),
        (lambda net, x: net.Mul(x, x), Range.WIDE),
        (lambda net, x: net.Softplus(x), Range.WIDE),
        (lambda net, x: net.Reciprocal(x), Range.WIDE),
        (lambda net, x: net.ReduceSum(x, np.array([1]), keepdims=1), Range.WIDE),
        (lambda net, x: net.ReduceSumSquare(x, np.array([1]), keepdims=1), Range.WIDE),
        (lambda net, x: net.Add(net.Exp(x), np.float32(1)), Range.WIDE),
        (lambda net, x: net.Mul(x, np.float32(1e-7)), Range.WIDE),
        (lambda net, x: net.Add(x, np.float32(-1e9)), Range.WIDE),
        (lambda net, x: net.Where(np.ones((1, 8), bool), x, np.float32(-3.4028235e38)), Range.WIDE),
    ],
)
def test_the_range_of_what_becomes_of_a_product(between: Callable[[Net, SSAValue], SSAValue], expected: Range) -> None:
    net = Net(x=(4, 8))
    made = between(net, net.MatMul(net.inputs()[0], net.random(8, 8)))
    graph = net.done(net.MatMul(made, net.random(1, 3)) if dims_of(made.type) == (4, 1) else net.Relu(made))
    assert Ranges(graph, np.dtype(np.float16)).of(made) == expected


def test_what_may_leave_the_range_is_stored_in_float32_and_multiplied_so() -> None:
    net = Net(x=(4, 8))
    wide = net.Transpose(net.Exp(net.MatMul(net.inputs()[0], net.random(8, 24))), perm=[1, 0])
    kept = net.Transpose(net.Tanh(net.MatMul(net.inputs()[0], net.random(8, 24))), perm=[1, 0])
    before = net.done(net.MatMul(wide, net.random(4, 32)), net.MatMul(kept, net.random(4, 32)))
    after = rounded(before.clone())
    transposes = [op for op in after.ops() if isinstance(op, onnx.Transpose)]
    assert [stored(op.out) for op in transposes] == [F32, F16]
    assert [multiplied_as(region) for region in regions(after)] == [F16, F16, None, F16]
    for expected, found in zip(run(before, inputs := feeds(before)), run(after, inputs), strict=True):
        # each rounding is 2^-12 of a number; here ONNX Runtime computes the products in float32
        np.testing.assert_allclose(found, expected, atol=1e-2 * np.abs(expected).max())


def test_masks_of_large_numbers_still_mask_and_make_no_nan() -> None:
    """Rows that are masked whole too: infinity minus infinity would be NaN."""
    mask = np.zeros((1, 1, 5, 5), np.float32)
    mask[..., 3:] = mask[..., 2, :] = np.finfo(np.float32).min
    net = Net(q=(1, 2, 5, 4), k=(1, 2, 4, 5), v=(1, 2, 5, 4))
    q, k, v = net.inputs()
    before = net.done(net.Relu(net.MatMul(net.Softmax(net.Add(net.MatMul(q, k), mask)), v)))
    after = rounded(before.clone())
    check_near(before, after)
    (region,) = (op for op in regions(after) if op.kind.data == "attention")
    assert multiplied_as(region) == F16
    assert stored(region.results[0]) == F16, "and the mask did not reach it"


def test_whole_numbers_are_exact() -> None:
    """Positions up to some thousands, as rotary embeddings multiply them, and bytes, as images are made of."""
    net = Net(x=(1, 8))
    net.graph = Graph.build([("n", tensor("int64", (1, 8))), ("b", tensor("uint8", (1, 8)))])
    positions, image = net.graph.inputs
    products = [net.MatMul(net.Cast(v, to=1), net.random(8, 4)) for v in (positions, image)]
    graph = rounded(net.done(*map(net.Sin, products)))
    assert [multiplied_as(op) for op in regions(graph) if op.kind.data == "matmul"] == [None, F16]


def test_a_tensor_that_one_reader_wants_in_float32_is_that() -> None:
    net = Net(x=(4, 8))
    y = net.MatMul(net.inputs()[0], net.random(8, 8))
    summed = net.CumSum(y, np.array(1))
    graph = rounded(net.done(summed, net.MatMul(y, net.random(8, 2))))
    assert [stored(region.results[0]) for region in regions(graph)] == [F32, F32]
    assert "CumSum" in summary(graph)


def test_no_kernel_only_converts() -> None:
    """Ops that are no regions change their type as a whole, with their constants, or not at all."""
    net = Net(x=(1, 3, 8, 8))
    y = net.Conv(net.inputs()[0], net.random(4, 3, 3, 3))
    table = net.random(1, 2, 6, 6)
    inner = net.Concat(y, table, axis=1)
    z = net.Conv(inner, net.random(5, 6, 3, 3))
    before = net.done(net.Concat(z, z, axis=1))
    plain, after = before.clone(), rounded(before.clone())
    Pipeline.parse("fuse").run(plain)
    assert len(summary(after)) == len(summary(plain))
    assert not any(isinstance(op, onnx.Cast) for op in after.ops())
    concats = [op for op in after.ops() if isinstance(op, onnx.Concat)]
    assert [{stored(v) for v in (*op.operands, *op.results)} for op in concats] == [{F16}, {F32}]
    check_near(before, after)


def test_what_the_body_of_a_branch_reads_keeps_its_type() -> None:
    text = """(float[2,8] x, bool c) => (float[2,8] y) {
        t = MatMul(x, w)
        y = If(c) <
            then_branch = a () => (float[2,8] u) { u = Relu(t) }, else_branch = b () => (float[2,8] v) { v = Neg(t) }
        >
    }"""
    w = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    graph = rounded(import_model(TextModel(text, {"w": w}).proto()))
    assert [stored(region.results[0]) for region in regions(graph)] == [F32]


def test_the_type_must_be_one_that_is_known() -> None:
    with pytest.raises(UsageError, match="type is one of float16, bfloat16, tfloat32, not float8"):
        rounded(two_convolutions(), "float8")


def test_without_activations_only_factors_and_tables_are_stored_so() -> None:
    """What is looked up too, as it is the table's; but not where a region multiplies by it."""
    net = Net(x=(4, 6), t=(5,))
    net.graph = Graph.build([("x", tensor(F32, (4, 6))), ("t", tensor("int64", (5,)))])
    x, t = net.inputs()
    y = net.Relu(net.Add(net.MatMul(x, net.random(6, 70)), net.random(70)))
    z = net.MatMul(y, net.random(70, 3))
    added, multiplied = (net.Gather(net.random(9, 8), t) for _ in range(2))
    before = net.done(z, net.Relu(added), net.Relu(net.MatMul(multiplied, net.random(8, 9))))
    after = before.clone()
    Pipeline.parse("fuse,precision{type=float16 activations=none}").run(after)
    products = [op for op in regions(after) if op.kind.data == "matmul"]
    operands = sorted([stored(v) for v in op.operands] for op in products)
    assert operands == [[F32, F16], [F32, F16], [F32, F16, F32]], "computed or given, a weight, a bias"
    (relu,) = (op for op in regions(after) if op not in products)
    assert [stored(v) for v in relu.operands] == [F16]
    assert {stored(op.results[0]) for op in regions(after)} == {F32}
    looked_up = [op for op in after.ops() if isinstance(op, onnx.Gather)]
    assert [(stored(op.data), stored(op.output)) for op in looked_up] == [(F16, F16), (F32, F32)]


def images_and_rows() -> Graph:
    """Two convolutions, of which the second feeds a pool, and a product of that."""
    net = Net(x=(2, 16, 9, 7))
    y = net.Relu(net.Conv(net.inputs()[0], net.random(32, 16, 3, 3), net.random(32)))
    z = net.Relu(net.Conv(y, net.random(16, 32, 1, 1)))
    rows = net.Flatten(net.GlobalAveragePool(z))
    return net.done(net.MatMul(net.Relu(net.MatMul(rows, net.random(16, 72))), net.random(72, 3)))


def test_of_packed_activations_images_in_blocks_are_stored_so_and_rows_are_not() -> None:
    before, after = images_and_rows(), images_and_rows()
    Pipeline.parse("fuse,layout{block=8},precision{type=bfloat16 activations=packed}").run(after)
    found = {op.kind.data: op for op in regions(after)}
    images = [op.results[0] for op in regions(after) if op.kind.data == "conv"]
    assert [stored(image) for image in images] == ["bfloat16", "bfloat16"]
    assert stored(found["pool"].results[0]) == F32, "no image in blocks any more"
    products = [op for op in regions(after) if op.kind.data == "matmul"]
    assert [[stored(v) for v in op.operands] for op in products] == [[F32, "bfloat16"], [F32, "bfloat16"]]
    assert {multiplied_as(op) for op in (*products, found["conv"])} == {"bfloat16"}
    check_near(before, after, bound=4e-2)


def test_activations_are_of_those_that_are_known() -> None:
    with pytest.raises(UsageError, match="activations are all, packed, none, not images"):
        Pipeline.parse("fuse,precision{activations=images}").run(images_and_rows())
