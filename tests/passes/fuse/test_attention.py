"""Attention regions: scales, masks and heads in the forms that frameworks write."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.ir import FusionOp, Graph, dims_of, onnx
from dsc.passes.fuse import Fuse
from dsc.passes.fuse.qkv import RULE as MERGED
from tests.passes.net import Net, check_same, summary

HEADS, SIZE = 4, 8
WIDTH = HEADS * SIZE
SIZES = {"n": 2, "s": 5}


def heads(net: Net, x, perm=(0, 2, 1, 3)):
    return net.Transpose(net.Reshape(x, np.array([0, 0, HEADS, SIZE])), perm=list(perm))


def joined(net: Net, x):
    return net.Reshape(net.Transpose(x, perm=[0, 2, 1, 3]), np.array([0, 0, WIDTH]))


def attention_of(graph: Graph, tolerance: float = 1e-5) -> FusionOp:
    """Fuses the graph, compares the numbers, and returns its only attention."""
    before = graph.clone()
    Fuse().run(graph)
    check_same(before, graph, SIZES, tolerance)
    (found,) = [op for op in graph.ops() if isinstance(op, FusionOp) and op.kind.data == "attention"]
    return found


def three(net: Net):
    return net.inputs()[:3]


def qkv_net(**more) -> Net:
    return Net(q=("n", "s", WIDTH), k=("n", "s", WIDTH), v=("n", "s", WIDTH), **more)


@pytest.mark.parametrize("where", ["q", "k", "both", "scores", "scores divided"])
def test_the_scale_may_be_anywhere(where):
    net = qkv_net()
    q, k, v = three(net)
    q, k, v = heads(net, q), heads(net, k, (0, 2, 3, 1)), heads(net, v)
    q = net.Mul(q, 0.3) if where in ("q", "both") else q
    k = net.Mul(k, 0.3) if where in ("k", "both") else k
    scores = net.MatMul(q, k)
    scores = net.Mul(scores, 0.3) if where == "scores" else scores
    scores = net.Div(scores, 3.0) if where == "scores divided" else scores
    graph = net.done(joined(net, net.MatMul(net.Softmax(scores), v)))
    found = attention_of(graph)
    assert summary(graph) == [summary(graph)[0]], "one region, with the heads inside"
    assert [dims_of(v.type) for v in found.operands] == [("n", "s", WIDTH)] * 3
    assert dims_of(found.results[0].type) == ("n", "s", WIDTH)


def test_masks_by_adding_and_by_choosing():
    net = qkv_net(m=("n", 1, 1, "s"))
    q, k, v = three(net)
    scores = net.MatMul(heads(net, q), heads(net, k, (0, 2, 3, 1)))
    added = net.Add(net.Div(scores, 2.0), net.inputs()[3])
    graph = net.done(joined(net, net.MatMul(net.Softmax(added), heads(net, v))))
    assert len(attention_of(graph).operands) == 4

    net = Net(q=(1, 6, WIDTH), k=(1, 6, WIDTH), v=(1, 6, WIDTH))
    q, k, v = three(net)
    scores = net.MatMul(heads(net, q), heads(net, k, (0, 2, 3, 1)))
    causal = np.tril(np.ones((1, 1, 6, 6), bool))
    chosen = net.Where(causal, net.Mul(scores, 0.25), np.float32(-1e9))
    graph = net.done(joined(net, net.MatMul(net.Softmax(chosen), heads(net, v))))
    assert "onnx.Where" in [op.name for op in attention_of(graph).block.ops]


def test_a_guard_against_nan_is_inside():
    net = qkv_net()
    q, k, v = three(net)
    p = net.Softmax(net.MatMul(heads(net, q), heads(net, k, (0, 2, 3, 1))))
    guarded = net.Where(net.IsNaN(p), np.float32(0), p)
    graph = net.done(joined(net, net.MatMul(guarded, heads(net, v))))
    assert "onnx.IsNaN" in [op.name for op in attention_of(graph).block.ops]
    assert len(summary(graph)) == 1


def test_one_projection_split_in_five_dims_is_inside():
    net = Net(x=("n", 5, 3 * WIDTH))
    (x,) = net.inputs()
    moved = net.Transpose(net.Reshape(x, np.array([0, 5, 3, HEADS, SIZE])), perm=[2, 0, 3, 1, 4])
    q, k, v = (net.Squeeze(net.Slice(moved, *(np.array([i]) for i in (j, j + 1, 0))), np.array([0])) for j in range(3))
    p = net.Softmax(net.MatMul(net.Mul(q, 0.2), net.Transpose(k, perm=[0, 1, 3, 2])))
    graph = net.done(net.Reshape(net.Transpose(net.MatMul(p, v), perm=[0, 2, 1, 3]), np.array([0, 5, WIDTH])))
    assert [dims_of(v.type) for v in attention_of(graph).operands] == [("n", 5, 3 * WIDTH)]
    assert len(summary(graph)) == 1


def test_keys_that_are_an_output_keep_their_heads_outside():
    net = qkv_net()
    q, k, v = three(net)
    keys = heads(net, k)
    scores = net.MatMul(heads(net, q), net.Transpose(keys, perm=[0, 1, 3, 2]))
    graph = net.done(joined(net, net.MatMul(net.Softmax(scores), heads(net, v))), keys)
    found = attention_of(graph)
    assert ("n", HEADS, "s", SIZE) in [dims_of(v.type) for v in found.operands]


def projected(net: Net, x, bias=True, group=0):
    """group: that of the integers that the weight is of; 0 for floats."""
    w = net.random(WIDTH, WIDTH)
    if group:
        scales = np.abs(net.random(WIDTH // group, WIDTH)) / 100
        w = net.DequantizeLinear((40 * w).astype(np.int8), scales, axis=0, block_size=group)
    y = net.MatMul(x, w)
    return net.Add(y, net.random(WIDTH)) if bias else y


def self_attention(net: Net, sources, bias=True, groups=(0, 0, 0)):
    q, k, v = (projected(net, x, bias, group) for x, group in zip(sources, groups, strict=True))
    p = net.Softmax(net.Mul(net.MatMul(heads(net, q), heads(net, k, (0, 2, 3, 1))), 0.35))
    return joined(net, net.MatMul(p, heads(net, v)))


@pytest.mark.parametrize("bias", [True, False])
def test_projections_of_one_tensor_are_merged(bias):
    net = Net(x=("n", "s", WIDTH))
    graph = net.done(self_attention(net, [net.inputs()[0]] * 3, bias))
    found = attention_of(graph)
    assert [s.split("(")[0] for s in summary(graph)] == ["matmul", "attention"]
    assert [dims_of(v.type) for v in found.operands] == [("n", "s", 3 * WIDTH)]
    assert isinstance(found.block.first_op, (onnx.Constant, onnx.Split))


def test_projections_by_weights_of_few_bits_are_merged_as_they_are():
    net = Net(x=("n", "s", WIDTH))
    graph = net.done(self_attention(net, [net.inputs()[0]] * 3, groups=(8, 8, 8)))
    attention_of(graph)
    assert [s.split("(")[0] for s in summary(graph)] == ["matmul", "attention"]
    weights = [graph.constant(op.results[0]) for op in graph.ops() if not isinstance(op, FusionOp)]
    assert (WIDTH, 3 * WIDTH) in [w.shape for w in weights if w.dtype == np.int8]


def test_projections_by_weights_of_other_groups_are_not():
    net = Net(x=("n", "s", WIDTH))
    graph = net.done(self_attention(net, [net.inputs()[0]] * 3, groups=(8, 8, 16)))
    assert MERGED not in Fuse().run(graph).fired


@pytest.mark.parametrize("options", [{}, {"merge_qkv": False}])
def test_projections_of_other_tensors_are_not(options):
    net = qkv_net()
    same = not options
    sources = three(net) if same else [net.inputs()[0]] * 3
    graph = net.done(self_attention(net, sources))
    assert MERGED not in Fuse(**options).run(graph).fired


def test_softmax_over_another_dim_is_no_attention():
    net = qkv_net()
    q, k, v = three(net)
    p = net.Softmax(net.MatMul(heads(net, q), heads(net, k, (0, 2, 3, 1))), axis=1)
    graph = net.done(joined(net, net.MatMul(p, heads(net, v))))
    Fuse().run(graph)
    assert not any("attention" in s for s in summary(graph))


def test_probabilities_that_are_an_output_are_no_attention():
    net = qkv_net()
    q, k, v = three(net)
    p = net.Softmax(net.MatMul(heads(net, q), heads(net, k, (0, 2, 3, 1))))
    graph = net.done(joined(net, net.MatMul(p, heads(net, v))), p)
    Fuse().run(graph)
    assert [s.split("(")[0] for s in summary(graph) if "(" in s] == ["matmul", "softmax", "matmul"]


def test_a_dequantized_tensor_may_be_query_keys_and_values():
    """Each reader has a dequantization of its own until regions are formed, and no region an input twice."""
    net = Net(x=("n", "s", WIDTH))
    scale, zero = np.float32(0.03), np.uint8(125)
    x = net.DequantizeLinear(net.QuantizeLinear(net.inputs()[0], scale, zero), scale, zero)
    p = net.Softmax(net.Mul(net.MatMul(heads(net, x), heads(net, x, (0, 2, 3, 1))), 0.35))
    attention_of(net.done(joined(net, net.MatMul(p, heads(net, x)))))
