"""Convolutions of signals become convolutions of images of height 1."""

from __future__ import annotations

import pytest

from dsc.passes.fuse import Fuse
from dsc.passes.layout import Layout
from tests.passes.net import Net, check_same, summary


def test_a_chain_leaves_the_images_once():
    made = Net(x=(2, 16, 37))
    (x,) = made.inputs()
    a = made.Relu(made.Conv(x, made.random(32, 16, 5), made.random(32), pads=[2, 2], strides=[2]))
    b = made.Conv(a, made.random(32, 32, 3), None, pads=[1, 1])
    graph = made.done(made.Relu(made.Add(b, a)))
    before = graph.clone()
    Fuse().run(graph)
    assert summary(graph) == ["Unsqueeze", "conv(Conv Relu)", "conv(Conv Add Relu)", "Squeeze"]
    check_same(before, graph)
    Layout().run(graph)
    assert any("conv(unpack Conv" in line for line in summary(graph))
    check_same(before, graph)


@pytest.mark.parametrize(
    "attributes",
    [{"group": 16}, {"dilations": [3]}, {"pads": [0, 4]}, {"auto_pad": "SAME_UPPER", "strides": [3]}],
)
def test_attributes_keep_their_meaning(attributes):
    made = Net(x=(1, 16, 29))
    (x,) = made.inputs()
    w = made.random(16, 16 // attributes.get("group", 1), 4)
    graph = made.done(made.Conv(x, w, None, **attributes))
    before = graph.clone()
    Fuse().run(graph)
    assert "Squeeze" in summary(graph)[-1]
    check_same(before, graph)


def test_images_stay():
    made = Net(x=(1, 8, 6, 6))
    (x,) = made.inputs()
    graph = made.done(made.Conv(x, made.random(8, 8, 3, 3), None))
    record = Fuse().run(graph)
    assert "it is not 1-d" in [m.reason for m in record.near_misses()]
    assert summary(graph) == ["conv(Conv)"]
