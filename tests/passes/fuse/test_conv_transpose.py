"""Transposed convolutions become convolutions to blocks of pixels."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.passes.fuse import Fuse
from dsc.passes.layout import Layout
from tests.passes.net import Net, check_same, summary


def net(kernel: int = 2, channels: int = 8, bias: bool = True, **attributes):
    made = Net(x=(2, 16, 5, 6))
    (x,) = made.inputs()
    b = made.random(channels) if bias else None
    w = made.random(16, channels, kernel, kernel)
    return made, made.ConvTranspose(x, w, b, **({"strides": [2, 2]} | attributes))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "channels"), [(2, 8), (3, 4), (2, 1)])
def test_apart_windows_are_a_convolution(kernel, channels, bias):
    made, y = net(kernel, channels, bias, strides=[kernel, kernel])
    graph = made.done(made.Clip(made.HardSwish(y), 0.0, 2.0))
    before = graph.clone()
    Fuse().run(graph)
    assert summary(graph) == ["conv(Conv HardSwish Clip)", "DepthToSpace"]
    check_same(before, graph)


def test_packed_blocks_move_packed():
    made, y = net(2, 24)
    graph = made.done(made.Relu(y))
    before = graph.clone()
    Fuse().run(graph)
    Layout().run(graph)
    assert summary(graph) == [
        "pack",
        "conv(unpack Conv Relu pack)",
        "elementwise(unpack DepthToSpace pack)",
        "unpack",
    ]
    check_same(before, graph)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(
    ("kernel", "attributes"),
    [
        (4, {"pads": [1, 1, 1, 1]}),
        (3, {"pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
        (3, {"pads": [1, 0, 0, 2], "output_padding": [0, 1]}),
        (3, {"strides": [1, 1], "pads": [1, 1, 1, 1]}),
        (5, {"strides": [3, 3]}),
        (1, {"strides": [2, 2]}),
    ],
)
def test_windows_that_overlap_are_a_convolution(kernel, attributes, dynamic):
    made = Net(x=(2, 16, "h", "w") if dynamic else (2, 16, 5, 6))
    (x,) = made.inputs()
    y = made.ConvTranspose(x, made.random(16, 8, kernel, kernel), made.random(8), **({"strides": [2, 2]} | attributes))
    graph = made.done(y)
    before = graph.clone()
    Fuse().run(graph)
    assert not any("ConvTranspose" in line for line in summary(graph))
    check_same(before, graph, {"h": 5, "w": 7})


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"strides": [2, 1]}, "the strides differ"),
        ({"dilations": [2, 2]}, "it has groups or dilations"),
        ({"output_padding": [1, 1]}, "its output is padded"),
        ({"auto_pad": "SAME_UPPER"}, "its output is cropped to a size"),
    ],
)
def test_others_stay(attributes, reason):
    made, y = net(**attributes)
    graph = made.done(y)
    record = Fuse().run(graph)
    assert [m.reason for m in record.near_misses()] == [reason]
    assert summary(graph) == ["conv(ConvTranspose)"]


def test_an_activation_with_an_operand_for_each_channel_stays_behind():
    made, y = net()
    graph = made.done(made.PRelu(y, np.full((8, 1, 1), 0.25, np.float32)))
    Fuse().run(graph)
    assert summary(graph) == ["conv(Conv)", "DepthToSpace", "PRelu"]


@pytest.mark.parametrize(("outputs", "before_move"), [(4, True), (32, False)])
def test_few_channels_are_mixed_before_the_blocks_move(outputs, before_move):
    made, y = net(2, 8)
    graph = made.done(made.Conv(made.Relu(y), made.random(outputs, 8, 1, 1), made.random(outputs)))
    before = graph.clone()
    Fuse().run(graph)
    moved_last = ["conv(Conv Relu)", "conv(Conv)", "DepthToSpace"]
    assert summary(graph) == (moved_last if before_move else [moved_last[0], moved_last[2], moved_last[1]])
    check_same(before, graph)
