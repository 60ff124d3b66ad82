"""Zeros are recognized and written on types; what is compiled with them agrees with ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.errors import UsageError
from dsc.ir import Graph, SparseAttr, WeightOp, encoding_of
from dsc.passes import Pipeline
from dsc.passes.base import PassRecord
from dsc.passes.sparsity.patterns import FOURS, zeros_of
from dsc.pipeline import compile_model
from dsc.sparsity import Pattern, matrix_of, weight_of
from tests.passes.net import Net, feeds, run

RNG = np.random.default_rng()


def pruned(shape: tuple[int, ...], axis: int, pattern: str, density: float) -> np.ndarray:
    weight = RNG.standard_normal(shape).astype(np.float32)
    mask = Pattern.parse(pattern).keep(RNG.random(matrix_of(weight, axis).shape), density)
    return np.where(weight_of(mask, axis, shape), weight, np.float32(0))


def network(pattern: str = "4x1", density: float = 0.1) -> Graph:
    """A stem, convolutions of both sizes with a residual, and two products."""
    net = Net(x=(2, 3, 19, 17))
    x = net.Relu(net.Conv(net.inputs()[0], net.random(32, 3, 3, 3), net.random(32), strides=[2, 2]))
    y = net.Relu(net.Conv(x, pruned((32, 32, 3, 3), 0, pattern, density), net.random(32), pads=[1, 1, 1, 1]))
    x = net.Add(x, net.Conv(y, pruned((32, 32, 1, 1), 0, pattern, density), net.random(32)))
    x = net.Reshape(net.GlobalAveragePool(x), np.array([2, 32]))
    x = net.Relu(net.Add(net.MatMul(x, pruned((32, 64), 1, pattern, density)), net.random(64)))
    return net.done(net.Gemm(x, pruned((40, 64), 0, pattern, density), net.random(40), transB=1))


def encodings(graph: Graph) -> list[SparseAttr]:
    found = [encoding_of(op.out.type) for op in graph.ops() if isinstance(op, WeightOp)]
    return [each for each in found if isinstance(each, SparseAttr)]


def recognized(graph: Graph, text: str = "sparsity") -> PassRecord:
    """The record of `sparsity` after fusion."""
    return Pipeline.parse(f"canonicalize,fuse,layout{{block=8}},{text}").run(graph)[-1]


def test_pruned_weights_get_their_pattern() -> None:
    graph = network()
    record = recognized(graph)
    assert sorted((each.pattern.data, each.axis.data) for each in encodings(graph)) == [
        ("4x1", 0), ("4x1", 0), ("4x1", 1), ("4x1", 1),
    ]  # fmt: skip
    assert record.fired == {"w => w : #dsc.sparse<4x1>": 4}
    assert all(0.1 <= each.density < 0.12 for each in encodings(graph))


def test_dense_weights_are_refused_and_no_type_changes() -> None:
    graph = network(density=1.0)
    Pipeline.parse("canonicalize,fuse,layout{block=8}").run(graph)
    plain = graph.text()
    record = Pipeline.parse("sparsity").run(graph)[-1]
    assert graph.text() == plain
    assert {miss.reason for miss in record.near_misses()} == {"no zeros"}


def test_what_is_said_already_stays() -> None:
    graph = network()
    recognized(graph)
    said = graph.text()
    assert not Pipeline.parse("sparsity").run(graph)[-1].changed
    assert graph.text() == said


@pytest.mark.parametrize("least", [0.0, 1.5])
def test_a_share_that_is_none_is_an_error(least: float) -> None:
    with pytest.raises(UsageError, match="least is a share above 0"):
        recognized(network(), f"sparsity{{least={least}}}")


@pytest.mark.parametrize("text", ["unstructured", "2x1", "4x1", "8x1", "16x1"])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_largest_blocks_are_found(text: str, axis: int) -> None:
    zeros = zeros_of(pruned((96, 96), axis, text, 0.1), axis)
    assert zeros.pattern == Pattern.parse(text)
    assert zeros.density == pytest.approx(0.1, abs=0.005)


def test_a_few_odd_elements_do_not_hide_blocks() -> None:
    weight = pruned((128, 128), 0, "4x1", 0.3)
    weight[5, 7] = 1.0
    assert zeros_of(weight, 0).pattern == Pattern(4)


def test_ragged_blocks_are_found() -> None:
    assert zeros_of(pruned((67, 50), 0, "4x1", 0.2), 0).pattern == Pattern(4)


@pytest.mark.parametrize(
    ("outputs", "text", "found"),
    [
        (18, "4x1", "4x1"),
        (9, "4x1", "4x1"),
        (22, "16x1", "16x1"),
        (6, "4x1", "4x1"),
        (3, "4x1", "2x1"),
        (1, "4x1", "unstructured"),
    ],
)
def test_the_last_block_counts_what_it_has(outputs: int, text: str, found: str) -> None:
    """Of blocks that do not divide the outputs; none are larger than these."""
    zeros = zeros_of(pruned((outputs, 400), 0, text, 0.2), 0)
    assert str(zeros.pattern) == found
    assert zeros.density == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("text", ["2:4", "4x2:4"])
@pytest.mark.parametrize("axis", [0, 1])
def test_two_of_four_inputs_are_found(text: str, axis: int) -> None:
    zeros = zeros_of(pruned((96, 96), axis, text, 0.5), axis)
    assert zeros.pattern == Pattern.parse(text)
    assert zeros.density == 0.5


def of_bytes(pattern: str) -> Graph:
    """A quantized product and convolution, of weights with zeros in one pattern."""
    net = Net(x=(1, 32, 5, 5))
    x = net.QuantizeLinear(net.inputs()[0], np.float32(0.1), np.uint8(7))
    filters = np.sign(pruned((64, 32, 1, 1), 0, pattern, 0.1)).astype(np.int8)
    w = np.sign(pruned((25, 64), 1, pattern, 0.1)).astype(np.int8)
    return net.done(net.ConvInteger(x, filters, np.uint8(7)), net.MatMulInteger(net.Reshape(x, np.array([32, 25])), w))


@pytest.mark.parametrize("text", ["1x4", "4x4", "1x16", "4x1", "unstructured"])
def test_products_of_bytes_have_blocks_of_inputs(text: str) -> None:
    """Convolutions have blocks of outputs alone, as floats."""
    graph = of_bytes(text)
    Pipeline.parse("sparsity").run(graph)
    outputs = Pattern(Pattern.parse(text).outputs)
    assert {each.axis.data: each.pattern.data for each in encodings(graph)} == {0: str(outputs), 1: text}


@pytest.mark.parametrize("text", ["1x4", "4x16"])
def test_blocks_of_inputs_are_none_of_floats(text: str) -> None:
    weight = pruned((96, 96), 0, text, 0.1)
    assert zeros_of(weight, 0).pattern == Pattern(Pattern.parse(text).outputs)
    assert zeros_of(weight, 0, FOURS).pattern == Pattern.parse(text)
    assert zeros_of(np.zeros((32, 32), np.int8), 0, FOURS).pattern.depth == 1


def test_three_of_four_inputs_are_not_two() -> None:
    weight = pruned((96, 96), 0, "2:4", 0.5)
    weight[3, 8:11] = 1.0
    assert zeros_of(weight, 0).pattern == Pattern()


def test_a_weight_of_zeros_has_no_blocks() -> None:
    assert zeros_of(np.zeros((32, 32), np.float32), 0).density == 0.0


@pytest.mark.parametrize("pattern", ["unstructured", "4x1", "16x1", "2:4"])
def test_a_compiled_network_is_that_of_onnx_runtime(pattern: str) -> None:
    graph = network(pattern, 0.1)
    arrays = feeds(graph)
    expected = run(graph, arrays)
    found = compile_model(graph, target="native").model.load(1).run(arrays)
    np.testing.assert_allclose(found["out0"], expected[0], rtol=1e-4, atol=1e-4 * np.abs(expected[0]).max())


def test_kernels_for_zeros_are_chosen_and_small() -> None:
    """At a tenth, in a net whose layers are large enough: the artifact holds no zeros."""
    net = Net(x=(64, 512))
    x = net.Relu(net.MatMul(net.inputs()[0], pruned((512, 512), 1, "4x1", 0.1)))
    graph = net.done(net.MatMul(x, pruned((512, 512), 1, "4x1", 0.1)))
    model = compile_model(graph, target="native").model
    assert {each["kernel"] for each in model.manifest.kernels} == {"cpu.sparse_matmul"}
    assert "axis = 1, kept = 26" in model.manifest.kernels[0]["workload"]
    assert model.size < 0.2 * 2 * 512 * 512 * 4 + 200_000
