"""What is fused with what, what is not and why, and that nothing changes in the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.ir import FusionOp, Graph, onnx
from dsc.passes.fuse import Fuse
from tests.passes.net import Net, check_same, summary


def fused(graph: Graph, sizes=None, **options) -> list[str]:
    """The summary after fusing; verifies, and compares the numbers on ONNX Runtime."""
    after = graph.clone()
    record = Fuse(**options).run(graph)
    assert record.changed or not any(isinstance(op, FusionOp) for op in graph.ops())
    check_same(after, graph, sizes)
    return summary(graph)


def image_net():
    net = Net(x=("n", 8, "h", "w"))
    return net, net.inputs()[0]


SIZES = {"n": 2, "h": 9, "w": 7}


def conv(net: Net, x, channels=8, inputs=8):
    return net.Conv(x, net.random(channels, inputs, 3, 3), net.random(channels), pads=[1, 1, 1, 1])


def test_conv_bias_activation_residual():
    net = Net(x=("n", 8, 9, 7))
    (x,) = net.inputs()
    y = net.Relu(conv(net, x))
    out = net.Relu(net.Add(conv(net, y), x))
    assert fused(net.done(out), SIZES) == ["conv(Conv Relu)", "conv(Conv Add Relu)"]
    rules = [op.rule.data for op in net.graph.ops() if isinstance(op, FusionOp)]
    assert rules == ["relu(conv(x, w, b))", "relu(conv(x, w, b) + r)"]


def test_activations_that_use_the_result_twice_are_fused_whole():
    net, x = image_net()
    y = conv(net, x)
    assert fused(net.done(net.Mul(y, net.Sigmoid(y))), SIZES) == ["conv(Conv Sigmoid Mul)"]


def test_a_value_that_others_need_ends_the_region():
    net, x = image_net()
    y = conv(net, x)
    assert fused(net.done(net.Relu(y), y), SIZES) == ["conv(Conv)", "Relu"]


def test_the_epilogue_has_a_longest_length():
    net, x = image_net()
    y = conv(net, x)
    for _ in range(3):
        y = net.Tanh(y)
    graph = net.done(y)
    assert fused(graph.clone(), SIZES, max_epilogue=2) == ["conv(Conv Tanh Tanh)", "Tanh"]
    assert fused(graph, SIZES, max_epilogue=0) == ["conv(Conv)", "elementwise(Tanh Tanh Tanh)"]


def test_no_cycle_through_outside_ops():
    """y feeds a pool and, with the pool's result, a product: the product cannot join y's region."""
    net, x = image_net()
    y = net.Relu(conv(net, x))
    scale = net.Sigmoid(net.GlobalAveragePool(y))
    found = fused(net.done(net.Mul(y, scale)), SIZES)
    assert found == ["conv(Conv Relu)", "pool(GlobalAveragePool Sigmoid)", "Mul"]


def test_an_epilogue_that_widens_the_result_stays_outside():
    net = Net(x=(1, 4), y=(3, 4))
    a, b = net.inputs()
    product = net.MatMul(a, net.random(4, 4))
    assert fused(net.done(net.Add(product, b))) == ["matmul(MatMul)", "Add"]


def test_squeeze_excite_scale_of_another_branch_is_an_epilogue():
    net = Net(x=("n", 8, 6, 6), s=("n", 8, 1, 1))
    x, s = net.inputs()
    assert fused(net.done(net.Mul(conv(net, x), s)), {"n": 2}) == ["conv(Conv Mul)"]


def test_pad_goes_into_the_convolution():
    net, x = image_net()
    padded = net.Pad(x, np.array([0, 0, 1, 2, 0, 0, 0, 1]))
    out = net.Conv(padded, net.random(4, 8, 3, 3), pads=[1, 0, 1, 0])
    assert fused(net.done(out), SIZES) == ["conv(Conv)"]
    op = next(op for op in net.graph.ops() if isinstance(op, FusionOp))
    inner = next(o for o in op.block.ops if isinstance(o, onnx.Conv))
    assert inner.attr("pads") == [2, 2, 1, 1]


@pytest.mark.parametrize(
    ("pads", "fill", "attributes", "reason"),
    [
        ([0, 0, 1, 1, 0, 0, 1, 1], 1.0, {}, "the padding is not zero"),
        ([0, 1, 1, 1, 0, 0, 1, 1], 0.0, {}, "batch or channels are padded"),
        ([0, 0, -1, 0, 0, 0, 0, 0], 0.0, {}, "it crops"),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0.0, {"auto_pad": "SAME_UPPER"}, "auto_pad is SAME_UPPER"),
    ],
)
def test_pads_that_a_convolution_cannot_take(pads, fill, attributes, reason):
    net = Net(x=(1, 8, 6, 6))
    (x,) = net.inputs()
    padded = net.Pad(x, np.array(pads), np.float32(fill))
    channels = 9 if reason.startswith("batch") else 8
    graph = net.done(net.Conv(padded, net.random(4, channels, 3, 3), **attributes))
    record = Fuse().run(graph)
    assert reason in [m.reason for m in record.near_misses()]
    assert summary(graph) == ["Pad", "conv(Conv)"]


def test_matmul_bias_gelu_and_residual():
    net = Net(x=("n", "s", 16), r=("n", "s", 8))
    x, r = net.inputs()
    h = net.Add(net.MatMul(x, net.random(16, 8)), net.random(8))
    gelu = net.Mul(net.Mul(h, net.Add(net.Erf(net.Div(h, np.sqrt(np.float32(2)))), 1.0)), 0.5)
    found = fused(net.done(net.Add(gelu, r)), {"n": 2, "s": 5})
    assert found == ["matmul(MatMul Add Div Erf Add Mul Mul Add)"]


def test_layer_norm_with_the_residual_stream_as_a_second_output():
    net = Net(x=("n", "s", 16), r=("n", "s", 16))
    x, r = net.inputs()
    total = net.Add(x, r)
    normed = net.LayerNormalization(total, net.random(16), net.random(16))
    graph = net.done(normed, total)
    assert fused(graph, {"n": 2, "s": 3}) == ["norm(Add LayerNormalization)"]
    (op,) = [op for op in graph.ops() if isinstance(op, FusionOp)]
    assert len(op.results) == 2
    assert op.rule.data.startswith("x + r, layernormalization(x + r")


def test_two_sums_join_a_norm_and_the_first_only_if_nothing_else_needs_it():
    net = Net(x=(2, 16), r=(2, 16), s=(2, 16))
    x, r, s = net.inputs()
    first = net.Add(x, r)
    graph = net.done(net.RMSNormalization(net.Add(first, s), net.random(16)))
    shared = graph.clone()
    shared.set_outputs([*zip(["y"], shared.outputs, strict=True), ("first", next(shared.ops()).results[0])])
    assert summary_after(graph) == ["norm(Add Add RMSNormalization)"]
    assert summary_after(shared) == ["Add", "norm(Add RMSNormalization)"]


def summary_after(graph: Graph) -> list[str]:
    Fuse().run(graph)
    return summary(graph)


def test_reductions_take_what_is_before_and_after():
    net = Net(x=("n", 8, 5))
    (x,) = net.inputs()
    square = net.ReduceMean(net.Mul(net.Abs(x), x), np.array([-1]), keepdims=1)
    assert fused(net.done(net.Sqrt(net.Add(square, 1e-5))), {"n": 3}) == ["reduction(Abs Mul ReduceMean Add Sqrt)"]


def test_softmax_takes_scale_and_mask():
    net = Net(x=("n", 4, 6), m=("n", 4, 6))
    x, mask = net.inputs()
    assert fused(net.done(net.Softmax(net.Add(net.Mul(x, 0.3), mask))), {"n": 2}) == ["softmax(Mul Add Softmax)"]


def test_elementwise_chains_with_casts_broadcasts_and_moves():
    net = Net(x=("n", 4, 5, 6), m=("n", 6))
    x, m = net.inputs()
    mask = net.Cast(net.Unsqueeze(m, np.array([1, 2])), to=1)
    moved = net.Transpose(net.Relu(x), perm=[0, 2, 1, 3])
    graph = net.done(net.Tanh(net.Mul(net.Sub(moved, 1.0), net.random(1, 5, 1, 6))), net.Add(net.Exp(x), mask))
    found = fused(graph, {"n": 2})
    assert sorted(found) == [
        "elementwise(Relu Transpose Sub Mul Tanh)",
        "elementwise(Unsqueeze Cast Exp Add)",
    ]


def test_what_would_be_computed_again_and_again_or_read_with_strides_stays_outside():
    net = Net(x=("n", 4, 6), m=("n", 6))
    x, m = net.inputs()
    wide = net.Mul(x, net.Unsqueeze(net.Exp(m), np.array([1])))
    turned = net.Neg(net.Relu(net.Transpose(x, perm=[0, 2, 1])))
    found = fused(net.done(wide, turned), {"n": 2})
    assert sorted(found) == ["Exp", "Transpose", "elementwise(Relu Neg)", "elementwise(Unsqueeze Mul)"]


def test_sizes_being_computed_are_left_alone():
    net = Net(x=("n", "s"))
    (x,) = net.inputs()
    size = net.op(onnx.Shape, x).out
    out = net.Reshape(x, net.Mul(net.Add(size, np.array([0, 1])), np.array([1, 0])))
    assert not any(isinstance(op, FusionOp) for op in net.done(out).ops())
    Fuse().run(net.graph)
    assert summary(net.graph) == ["Shape", "Add", "Mul", "Reshape"]


def test_reshapes_of_leading_dims_do_not_part_a_product_from_its_activation():
    net = Net(x=("n", 5, 8))
    (x,) = net.inputs()
    flat = net.Reshape(x, np.array([-1, 8]))
    product = net.Add(net.MatMul(flat, net.random(8, 4)), net.random(4))
    found = fused(net.done(net.Relu(net.Reshape(product, np.array([-1, 5, 4])))), {"n": 2})
    assert found == ["Reshape", "matmul(MatMul Add Relu)"] or found == ["matmul(MatMul Add Relu)"]


def test_reshapes_that_mix_the_last_dim_stay():
    net = Net(x=(4, 6))
    (x,) = net.inputs()
    softmax = net.Softmax(net.Reshape(x, np.array([8, 3])))
    graph = net.done(net.Reshape(softmax, np.array([4, 6])))
    record = Fuse().run(graph)
    assert "the last dim is reshaped too" in [m.reason for m in record.near_misses()]
    assert summary(graph) == ["Reshape", "softmax(Softmax)", "Reshape"]


def test_values_are_defined_before_use_whatever_the_order_was():
    """The fusion is where its last op was; what was between and needs its first result moves behind it."""
    net = Net(x=(2, 8), r=(2, 8))
    x, r = net.inputs()
    total = net.Add(x, r)
    other = net.Exp(total)
    normed = net.LayerNormalization(total, net.random(8))
    found = fused(net.done(normed, net.MatMul(other, net.random(8, 8))))
    assert found == ["norm(Add LayerNormalization)", "Exp", "matmul(MatMul)"]


def test_fusing_twice_changes_nothing():
    net, x = image_net()
    graph = net.done(net.Relu(conv(net, x)))
    Fuse().run(graph)
    text = graph.text()
    Fuse().run(graph)
    assert graph.text() == text


def test_enlarging_by_the_nearest_pixel_is_read_through():
    net = Net(x=(1, 8, 4, 4), y=(1, 8, 8, 8))
    x, y = net.inputs()
    large = net.Resize(x, None, np.array([1, 1, 2, 2], np.float32), mode="nearest", nearest_mode="floor")
    smooth = net.Resize(x, None, np.array([1, 1, 2, 2], np.float32), mode="linear")
    found = fused(net.done(net.Add(large, y), net.Mul(smooth, y)))
    assert sorted(found) == ["Mul", "Resize", "elementwise(Resize Add)"]
