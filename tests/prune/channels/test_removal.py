"""The model without channels gives what the whole one gives with zeros where they are multiplied."""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnx.shape_inference
import pytest

import dsc.models
from dsc.prune.channels.coupling import Coupling
from dsc.prune.channels.dims import Use
from dsc.prune.channels.groups import Gone, Group, find_groups
from dsc.prune.channels.remove import removed, zeroed
from dsc.prune.channels.rules import coupled
from dsc.quantize.network import Network
from dsc.quantize.prepare import prepare
from tests.compiled import TextModel
from tests.prune.channels.nets import ENCODER, MIXED, RESIDUAL
from tests.prune.channels.random_nets import SIZE, RandomNet
from tests.prune.test_prune import run
from tests.quantize.nets import weight


def both(model: onnx.ModelProto, random: np.random.Generator) -> tuple[onnx.ModelProto, onnx.ModelProto, int]:
    """The model with zeros and the smaller one, any channels of each group gone; how many groups there are."""
    network = Network(prepare(model, 0, folds_norms=False))
    coupling = coupled(network)
    groups = find_groups(coupling)
    units = {
        unit
        for group in groups
        for unit in random.permutation(group.units)[: int(random.integers(0, len(group.units)))]
    }
    gone = Gone(coupling, units)
    return zeroed(network, gone), removed(network, gone), len(groups)


def size(model: onnx.ModelProto) -> int:
    return sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)


@pytest.mark.parametrize("part", range(4))
def test_random_networks(part: int) -> None:
    some = 0
    for seed in range(25 * part, 25 * part + 25):
        random = np.random.default_rng([seed, 1])
        model = RandomNet(seed).grown(14)
        with_zeros, smaller, groups = both(model, random)
        onnx.checker.check_model(smaller)
        onnx.shape_inference.infer_shapes(smaller, check_type=True, strict_mode=True)
        feed = {"x": random.standard_normal((2, 5, SIZE, SIZE)).astype(np.float32)}
        wanted = run(with_zeros, feed)
        np.testing.assert_allclose(run(smaller, feed), wanted, atol=1e-5 * max(1, np.abs(wanted).max()), err_msg=seed)
        if groups:
            some += 1
            assert size(smaller) <= size(model)
    assert some >= 20


@pytest.mark.parametrize("seed", range(5))
def test_heads_and_perceptrons(seed: int) -> None:
    """Shapes that are put together as the model runs say fewer heads."""
    random = np.random.default_rng(seed)
    with_zeros, smaller, groups = both(ENCODER.proto(), random)
    assert groups == 2
    for shape in ((1, 1, 24), (3, 7, 24)):
        feed = {"x": random.standard_normal(shape).astype(np.float32)}
        np.testing.assert_allclose(run(smaller, feed), run(with_zeros, feed), atol=2e-6)


def groups_of(model: onnx.ModelProto) -> tuple[Coupling, list[Group]]:
    coupling = coupled(Network(prepare(model, 0, folds_norms=False)))
    return coupling, find_groups(coupling)


def test_what_goes_together() -> None:
    """By weights and axes, of a network whose groups are known."""
    coupling, groups = groups_of(RESIDUAL.proto())
    found = [
        {(use.node, axis) for use, axis in group.counts if isinstance(use, Use) and len(coupling.dims_of(use)) > 1}
        for group in groups
    ]
    assert found == [
        {("stem", 0), ("expand", 1), ("project", 0), ("head", 1)},
        {("expand", 0), ("deep", 0), ("squeeze", 0), ("squeeze", 1), ("project", 1)},
    ]
    assert [len(group.units) for group in groups] == [16, 32]
    _, (heads, hidden) = groups_of(ENCODER.proto())
    assert (len(heads.units), len(hidden.units)) == (6, 40)
    assert heads.counts[Use("out", 1), 0] == 4


@pytest.mark.parametrize(
    ("model", "node", "axis", "said"),
    [
        (RESIDUAL, "stem", 1, "x is an input of the model"),
        (RESIDUAL, "head", 0, "y is an output of the model"),
        (ENCODER, "up", 0, "is an (in|out)put of the model"),
        (MIXED, "one", 1, "total: what CumSum does to dims is not known"),
        (MIXED, "two", 0, "total: what CumSum does to dims is not known"),
    ],
)
def test_what_stays_and_why(model: TextModel, node: str, axis: int, said: str) -> None:
    coupling, _ = groups_of(model.proto())
    assert re.search(said, coupling.reason(coupling.dims_of(Use(node, 1))[axis]))


def test_a_norm_over_channels_keeps_them() -> None:
    text = """(float[n,9] x) => (float[n,5] y) {
        [one] a = MatMul(x, w0)  [norm] b = LayerNormalization(a, gain)  [two] y = MatMul(b, w1)
    }"""
    weights = {"w0": weight(9, 16), "gain": weight(16), "w1": weight(16, 5)}
    coupling, groups = groups_of(TextModel(text, weights, 17).proto())
    assert not groups
    assert coupling.reason(coupling.dims_of(Use("one", 1))[1]) == "norm norms over it"


def test_a_constant_that_two_read_becomes_two() -> None:
    """And keeps its name where one reads it as it was."""
    text = """(float[n,9] x) => (float[n,12] y, float[n,12] z) {
        [one] a = MatMul(x, w)  [add] b = Add(a, c)  [two] y = MatMul(b, v)  [other] d = MatMul(x, u)
        [sum] z = Add(d, c)
    }"""
    weights = {"w": weight(9, 12), "c": weight(12), "v": weight(12, 12), "u": weight(9, 12)}
    model = TextModel(text, weights, 17)
    network = Network(prepare(model.proto(), 0))
    coupling = coupled(network)
    (group,) = find_groups(coupling)
    smaller = removed(network, Gone(coupling, group.units[:5]))
    shapes = {tensor.name: list(tensor.dims) for tensor in smaller.graph.initializer}
    assert shapes == {"w": [9, 7], "c": [12], "c_1": [7], "v": [7, 12], "u": [9, 12]}


def test_tensors_of_which_nothing_is_known() -> None:
    """A Reshape to dims that are an input: what comes of it stays, convolutions in groups and slices too."""
    text = """(float[n,6] x, int64[k] dims) => (float[n,6] z, float y) {
        [one] a = MatMul(x, w)  [relu] r = Relu(a)  [two] z = MatMul(r, v)
        [any] q = Reshape(x, dims)  [grouped] g = Conv<group=2>(q, u)  [cut] y = Slice(g, starts, ends)
    }"""
    numbers = {"starts": np.array([0], np.int64), "ends": np.array([2], np.int64)}
    net = TextModel(text, {"w": weight(6, 16), "v": weight(16, 6), "u": weight(4, 1, 1, 1), **numbers}, 17)
    model = net.proto()
    model.graph.output[1].type.tensor_type.ClearField("shape")
    random = np.random.default_rng(2)
    with_zeros, smaller, groups = both(model, random)
    assert groups == 1
    feed = {"x": random.standard_normal((4, 6)).astype(np.float32), "dims": np.array([3, 2, 2, 2], np.int64)}
    np.testing.assert_allclose(run(smaller, feed), run(with_zeros, feed), atol=1e-6)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "squeezenet"])
def test_models_of_the_zoo(name: str) -> None:
    random = np.random.default_rng(3)
    model = onnx.load(dsc.models.fetch(name))
    with_zeros, smaller, groups = both(model, random)
    assert groups >= 20
    (value,) = smaller.graph.input
    shape = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
    feed = {value.name: random.standard_normal(shape).astype(np.float32)}
    wanted = run(with_zeros, feed)
    np.testing.assert_allclose(run(smaller, feed), wanted, atol=1e-5 * np.abs(wanted).max())
    assert size(smaller) < 0.7 * size(model)
