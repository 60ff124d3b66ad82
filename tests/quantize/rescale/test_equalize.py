"""Cross-layer equalization: the float function stays, ranges of neighbouring weights meet."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from dsc.check import Reference
from dsc.exchange import import_model
from dsc.ir import FusionOp, OnnxOp
from dsc.pipeline import optimize, preset
from dsc.quantize.layers import find_layers
from dsc.quantize.network import Network
from dsc.quantize.policy import Policy
from dsc.quantize.prepare import prepare
from dsc.quantize.quantize import quantize
from dsc.quantize.rescale import rescale
from dsc.quantize.rescale.cross_layer import equalize
from dsc.quantize.rescale.joints import Joint, find_joints
from dsc.quantize.scheme import StaticScheme
from dsc.targets import target
from tests.compiled import TextModel
from tests.quantize.nets import samples, weight
from tests.quantize.rescale.nets import BLOCK, ROWS
from tests.quantize.tapped import tapped

NETS = {"convolutions": BLOCK, "rows": ROWS}


def equalized(model: TextModel) -> tuple[Network, Network, list[Joint]]:
    network = Network(prepare(model.proto()))
    rescaled, pairs = equalize(network, find_layers(network), samples(model))
    return network, Network(rescaled.model()), pairs


def found_pairs(text: str, **weights: np.ndarray) -> list[tuple[str, list[str]]]:
    network = Network(prepare(TextModel(text, weights, 17).proto()))
    pairs = [joint for joint in find_joints(network, find_layers(network)) if joint.layer is not None]
    return [(pair.layer.name, [reader.name for reader in pair.readers]) for pair in pairs if pair.layer is not None]


@pytest.mark.parametrize("name", NETS)
def test_the_float_function_stays(name: str) -> None:
    """On other data than the bound was found on; a few roundings of float32 are what differs."""
    before, after, pairs = equalized(NETS[name])
    onnx.checker.check_model(after.model, full_check=True)
    assert len(pairs) == {"convolutions": 3, "rows": 2}[name]
    for feed in samples(NETS[name], 3, seed=9):
        expected, found = (Reference(net.model, 1).run({"x": 3 * feed["x"]})["y"] for net in (before, after))
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_ranges_meet_unless_a_channel_would_be_the_widest() -> None:
    before, after, pairs = equalized(BLOCK)
    old, new = find_joints(before, find_layers(before)), find_joints(after, find_layers(after))
    for pair in pairs:
        index = [joint.tensor for joint in old].index(pair.tensor)
        (ranges, widths), (was, _) = seen(after, new[index]), seen(before, old[index])
        bounded = widths > 0.999 * widths.max()
        assert 0 < bounded.sum() < len(bounded)
        assert np.abs(np.log(ranges[~bounded])).max() < 0.01
        assert np.abs(np.log(was)).max() > 2  # there was something to do


def seen(network: Network, joint: Joint) -> tuple[np.ndarray, np.ndarray]:
    """Of each channel: the largest weight before by that after, and the largest number in between."""
    assert joint.layer is not None
    makes, reads = network.constant(joint.layer.weight), [network.constant(reader.weight) for reader in joint.readers]
    assert makes is not None
    before = np.abs(makes).reshape(joint.channels, -1).max(1)
    after = np.zeros(joint.channels)
    for weights, reader in zip(reads, joint.readers, strict=True):
        assert weights is not None
        groups = {"deep": 12, "groups": 2}.get(reader.name, 1)
        by_group = np.abs(weights).reshape(groups, weights.shape[0] // groups, weights.shape[1], -1).max((1, 3))
        after = np.maximum(after, by_group.reshape(-1))
    arrays = tapped(network.model, [joint.tensor], samples(BLOCK))[joint.tensor]
    return before / after, np.max([np.abs(array).max((0, 2, 3)) for array in arrays], axis=0)


def test_relu6_is_cut_elsewhere_in_each_channel() -> None:
    _, after, _ = equalized(BLOCK)
    (cut,) = (node for node in after.nodes if node.op_type == "Min")
    assert cut.name == "six"
    bounds = after.constant(cut.input[1])
    assert bounds is not None
    assert bounds.shape == (12, 1, 1)
    assert len(np.unique(bounds)) > 6


def test_dsc_takes_that_into_the_integer_convolution() -> None:
    scheme = StaticScheme(per_channel=False, equalizes=True)
    graph = import_model(quantize(BLOCK.proto(), samples(BLOCK), policy=Policy(scheme=scheme)).model)
    optimize(graph, preset(2, target("x86:znver4")))
    bodies = [
        {op.onnx_name for op in f.walk() if isinstance(op, OnnxOp)} for f in graph.ops() if isinstance(f, FusionOp)
    ]
    assert sum({"ConvInteger", "Min", "QuantizeLinear"} <= body for body in bodies) == 1


def test_one_scale_for_a_weight_profits() -> None:
    """Twelve decibels are two bits."""
    ratios = [
        quantize(
            BLOCK.proto(),
            samples(BLOCK),
            policy=Policy(scheme=StaticScheme(per_channel=False, equalizes=equalizes, smoothing="none")),
        )
        for equalizes in (False, True)
    ]
    before, after = (found.report for found in ratios)
    assert after.snr > before.snr + 12  # type: ignore[operator]
    deep = next(layer for layer in after.layers if layer.name == "deep")
    assert deep.methods == ("equalized with expand", "equalized with groups")
    assert deep.gain > 6  # type: ignore[operator]
    assert next(layer for layer in before.layers if layer.name == "deep").gain is None


def test_channels_of_zeros_stay() -> None:
    """Of the weights before, after, and of the data: nothing becomes infinite or NaN."""
    weights = dict(ROWS.weights)
    weights["w0"], weights["w1"] = weights["w0"].copy(), weights["w1"].copy()
    weights["w0"][3], weights["b0"] = 0, np.where(np.arange(21) == 3, 0, weights["b0"])
    weights["w1"][5] = 0
    weights["b0"][7], weights["w0"][7] = -1e6, 1e-3  # never beyond the Relu
    model = TextModel(ROWS.text, weights, 17)
    before, after, _ = equalized(model)
    for feed in samples(model, 2, seed=3):
        expected, found = (Reference(net.model, 1).run(feed)["y"] for net in (before, after))
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_a_weight_that_two_layers_share_is_scaled_for_one() -> None:
    model = TextModel(
        "(float[n,8] x) => (float[n,8] y, float[n,8] z)"
        "{ [a] a = MatMul(x, w) r = Relu(a) [b] y = MatMul(r, v) [c] z = MatMul(x, w) }",
        {"w": weight(8, 8) * np.float32([100, *[1] * 7]), "v": weight(8, 8, seed=1)},
        17,
    )
    before, after, pairs = equalized(model)
    assert len(pairs) == 1
    (feed,) = samples(model, 1)
    expected, found = (Reference(net.model, 1).run(feed) for net in (before, after))
    np.testing.assert_array_equal(found["z"], expected["z"])
    np.testing.assert_allclose(found["y"], expected["y"], rtol=0, atol=2e-6 * np.abs(expected["y"]).max())


_W, _V = weight(6, 6, 1, 1), weight(6, 6, 1, 1, seed=1)
_PAIR = "(float[1,6,4,4] x) => (float[1,6,4,4] y{more}) {{ [a] a = Conv(x, w) {between} [b] y = Conv(r, v) {after} }}"


@pytest.mark.parametrize(
    ("between", "after", "more", "pairs"),
    [
        ("r = Relu(a)", "", "", 1),
        ("r = Clip(a, zero, six)", "", "", 1),
        ("r = Clip(a, minus, six)", "", "", 0),
        ("r = Sigmoid(a)", "", "", 0),
        ("r = Relu(a)", "z = Neg(r)", ", float[1,6,4,4] z", 0),
        ("r = Relu(a)", "z = Neg(a)", ", float[1,6,4,4] z", 0),
        ("r = Relu(a)", "", ", float[1,6,4,4] r", 0),
        ("r = Add(a, a)", "", "", 0),
        ("r = PRelu(a, a)", "", "", 0),
        ("t = Transpose<perm=[0,1,3,2]>(a) r = Relu(t)", "", "", 0),
    ],
)
def test_what_may_be_between(between: str, after: str, more: str, pairs: int) -> None:
    constants = {"zero": np.float32(0), "six": np.float32(6), "minus": np.float32(-1)}
    used = {name: array for name, array in constants.items() if name in between}
    assert len(found_pairs(_PAIR.format(between=between, after=after, more=more), w=_W, v=_V, **used)) == pairs


def test_channels_of_images_are_not_those_of_rows() -> None:
    """A MatMul multiplies along the last axis of what a Conv gives, a pool pools rows' channels."""
    pooled = (
        "(float[1,6,8] x) => (float[1,6,4] y) { a = MatMul(x, w) r = MaxPool<kernel_shape=[3]>(a) y = MatMul(r, v) }"
    )
    assert found_pairs(pooled, w=weight(8, 8), v=weight(6, 4)) == []
    mixed = "(float[1,6,4,6] x) => (float[1,6,4,6] y) { a = Conv(x, w) r = Relu(a) y = MatMul(r, v) }"
    assert found_pairs(mixed, w=_W, v=weight(6, 6)) == []


def test_what_is_scaled_has_another_name() -> None:
    """Else `dsc verify --against` would compare it with what it is no more."""
    network = Network(prepare(BLOCK.proto()))
    change = rescale(network, find_layers(network), samples(BLOCK), StaticScheme(equalizes=True, smoothing="none"))
    (feed,) = samples(BLOCK, 1)
    both = sorted({name for n in network.nodes for name in n.output} & set(Network(change.model).producers))
    assert both == ["p", "q", "y"]
    expected, found = (tapped(model, both, [feed]) for model in (network.model, change.model))
    for name in both:
        np.testing.assert_allclose(found[name][0], expected[name][0], atol=1e-4)


def test_ratios_are_those_of_outputs_as_they_were() -> None:
    """With a scale for each channel, factors of its outputs change no byte of the first weight."""
    scheme = StaticScheme(equalizes=True, smoothing="none")
    report = quantize(ROWS.proto(), samples(ROWS, 12), policy=Policy(scheme=scheme)).report
    assert report.layers[0].methods == ("equalized with second",)
    assert report.layers[0].gain == pytest.approx(0, abs=0.05)


def test_a_wide_channel_of_small_weights_does_not_become_the_widest() -> None:
    """It is its bias that makes it wide: the weights alone ask for a factor of 30."""
    weights = {name: array.copy() for name, array in ROWS.weights.items()}
    weights["w0"][4], weights["b0"][4] = 1e-3 * weights["w0"][4], 50
    model = TextModel(ROWS.text, weights, 17)
    scheme = StaticScheme(equalizes=True, per_channel=False, smoothing="none")
    report = quantize(model.proto(), samples(model, 12), policy=Policy(scheme=scheme)).report
    assert report.layers[1].gain > -2  # type: ignore[operator]  # -6.8 without the bound
