"""Which tensors are packed, where the borders are, and that nothing changes in the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.errors import UsageError
from dsc.ir import FusionOp, Graph, dims_of
from dsc.passes.fuse import Fuse
from dsc.passes.layout import Layout
from tests.passes.net import Net, check_same, summary

SIZES = {"n": 2, "h": 9, "w": 6}


def packed(graph: Graph, sizes=None, block: int = 16) -> list[str]:
    """The summary after fuse and layout; verifies, and compares the numbers on ONNX Runtime."""
    before = graph.clone()
    Fuse().run(graph)
    Layout(block=block).run(graph)
    check_same(before, graph, sizes)
    return summary(graph)


def image(channels: int = 16, **more) -> Net:
    return Net(x=("n", channels, "h", "w"), **more)


def conv(net: Net, x, inputs: int, outputs: int, group: int = 1, **attributes):
    weight = net.random(outputs, inputs // group, 3, 3)
    return net.Conv(x, weight, net.random(outputs), group=group, pads=[1, 1, 1, 1], **attributes)


def test_only_packed_tensors_flow_between_convolutions():
    net = image(3)
    (x,) = net.inputs()
    stem = net.Relu(conv(net, x, 3, 16, strides=[2, 2]))
    found = packed(net.done(conv(net, stem, 16, 24)), SIZES)
    assert found == ["conv(Conv Relu pack)", "conv(unpack Conv pack)", "unpack"]
    first, second = [op for op in net.graph.ops() if isinstance(op, FusionOp)]
    assert dims_of(first.operands[0].type) == ("n", 3, "h", "w"), "three channels stay plain"
    assert dims_of(second.operands[0].type) == ("n", 1, "h_m1s2", "w_m1s2", 16)
    assert dims_of(second.results[0].type) == ("n", 3, "h_m1s2", "w_m1s2", 8), "8 is the largest that divides 24"


@pytest.mark.parametrize(("block", "expected"), [(16, 16), (8, 8), (4, 4)])
def test_the_largest_block_is_an_option(block, expected):
    net = image(32)
    packed(net.done(conv(net, net.inputs()[0], 32, 32)), SIZES, block)
    fusion = next(op for op in net.graph.ops() if isinstance(op, FusionOp))
    assert dims_of(fusion.results[0].type) == ("n", 32 // expected, "h", "w", expected)


def test_other_blocks_are_refused():
    net = image()
    with pytest.raises(UsageError, match="block is one of 16, 8, 4, not 5"):
        Layout(block=5).run(net.done(net.Relu(net.inputs()[0])))


def test_depthwise_and_residual():
    net = image(24)
    (x,) = net.inputs()
    y = net.Clip(conv(net, x, 24, 24, group=24), 0.0, 6.0)
    out = net.Add(conv(net, y, 24, 24), x)
    found = packed(net.done(out), SIZES)
    assert found == ["pack", "conv(unpack Conv Clip pack)", "conv(unpack unpack Conv Add pack)", "unpack"]


def test_pooling_concat_resize_pad_and_split_follow():
    net = image()
    (x,) = net.inputs()
    a, b = conv(net, x, 16, 16), conv(net, x, 16, 24)
    pooled = net.MaxPool(net.Concat(a, b, axis=1), kernel_shape=[2, 2], strides=[2, 2])
    padded = net.Pad(net.Resize(pooled, None, np.array([1, 1, 2, 2], np.float32)), np.array([0, 0, 1, 0, 0, 0, 0, 1]))
    first, second = net.op(type_of("Split"), padded, np.array([16, 24]), axis=1, outputs=2).results
    found = packed(net.done(conv(net, first, 16, 8), second), SIZES)
    assert found == [
        "pack", "conv(unpack Conv pack)", "conv(unpack Conv pack)", "elementwise(unpack unpack Concat pack)",
        "pool(unpack MaxPool pack)", "elementwise(unpack Resize pack)", "elementwise(unpack Pad pack)",
        "elementwise(unpack Split pack pack)", "unpack", "conv(unpack Conv pack)", "unpack",
    ]  # fmt: skip


def test_every_pooling_of_images_follows():
    net = image(16)
    (x,) = net.inputs()
    pooled = net.LpPool(conv(net, x, 16, 16), kernel_shape=[2, 2], strides=[2, 2])
    found = packed(net.done(conv(net, pooled, 16, 16)), SIZES)
    assert found == ["pack", "conv(unpack Conv pack)", "pool(unpack LpPool pack)", "conv(unpack Conv pack)", "unpack"]


def type_of(name: str):
    from dsc.ir import onnx

    return getattr(onnx, name)


def test_squeeze_and_excite():
    """[N, C, 1, 1] is the same bytes in both layouts, and stays plain."""
    net = image()
    (x,) = net.inputs()
    y = conv(net, x, 16, 32)
    squeezed = net.ReduceMean(y, np.array([2, 3]), keepdims=1)
    gate = net.Conv(net.Relu(net.Conv(squeezed, net.random(8, 32, 1, 1))), net.random(32, 8, 1, 1))
    out = conv(net, net.Mul(y, net.HardSigmoid(gate)), 32, 16)
    found = packed(net.done(out), SIZES)
    assert found == [
        "pack", "conv(unpack Conv pack)", "reduction(unpack ReduceMean)", "conv(Conv Relu)",
        "conv(Conv HardSigmoid)",
        "elementwise(unpack Mul pack)", "conv(unpack Conv pack)", "unpack",
    ]  # fmt: skip


def test_channels_that_no_block_divides_stay_plain():
    net = image()
    (x,) = net.inputs()
    out = conv(net, conv(net, x, 16, 18), 18, 16)
    assert packed(net.done(out), SIZES) == ["conv(Conv)", "conv(Conv pack)", "unpack"]


def test_what_mixes_channels_is_a_border():
    net = Net(x=(2, 16, 6, 6))
    (x,) = net.inputs()
    y = conv(net, x, 16, 16)
    flat = net.MatMul(net.Reshape(y, np.array([2, 16, 36])), net.random(36, 4))
    softmax = net.Softmax(y, axis=1)
    found = packed(net.done(flat, softmax))
    assert found == [
        "pack",
        "conv(unpack Conv pack)",
        "unpack",
        "Reshape",
        "matmul(MatMul)",
        "softmax(Softmax)",
    ]


def test_no_convolution_no_packing():
    net = image()
    (x,) = net.inputs()
    graph = net.done(net.MaxPool(net.Exp(net.Relu(x)), kernel_shape=[2, 2]))
    assert packed(graph, SIZES) == ["elementwise(Relu Exp)", "pool(MaxPool)"]


def test_elementwise_ops_on_plain_tensors_do_not_become_packed():
    net = image(16, y=("n", 16, "h", "w"))
    x, y = net.inputs()
    found = packed(net.done(net.Exp(net.Relu(y)), conv(net, x, 16, 16)), SIZES)
    assert "elementwise(Relu Exp)" in found


def test_broadcast_operands_of_any_rank():
    net = image()
    (x,) = net.inputs()
    y = conv(net, x, 16, 16)
    scaled = net.Add(net.Mul(net.Relu(y), net.random(16, 1, 1)), net.random(1, 16, 1, 1))
    out = net.Mul(net.Sub(scaled, 0.5), net.random(1, 1))
    assert packed(net.done(out, y), SIZES) == [
        "pack", "conv(unpack Conv pack)", "unpack", "elementwise(unpack Relu Mul Add Sub Mul pack)", "unpack",
    ]  # fmt: skip


def test_one_dimensional_convolutions_are_packed_as_images():
    net = Net(x=("n", 16, "l"))
    out = net.Conv(net.inputs()[0], net.random(16, 16, 3))
    assert packed(net.done(out), {"n": 2, "l": 8}) == [
        "Unsqueeze",
        "pack",
        "conv(unpack Conv pack)",
        "unpack",
        "Squeeze",
    ]


def test_a_second_run_changes_nothing():
    net = image()
    (x,) = net.inputs()
    graph = net.done(net.Relu(conv(net, conv(net, x, 16, 16), 16, 16)))
    Fuse().run(graph)
    Layout().run(graph)
    text = graph.text()
    record = Layout().run(graph)
    assert graph.text() == text
    assert not record.changed
