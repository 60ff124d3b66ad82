"""sparsify-attention: a band before the softmax, what is refused, and what the graph computes then."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.errors import UsageError
from dsc.ir import FusionOp, Graph, attention_window, onnx
from dsc.lower.workload import Workload
from dsc.passes import Pipeline
from dsc.passes.fuse import Fuse
from dsc.passes.sparsity import SparsifyAttention
from dsc.passes.sparsity.attention import RULE, attentions
from tests.passes.fuse.test_attention import WIDTH, heads, joined, qkv_net, three
from tests.passes.net import Net, feeds, run

LENGTH = 13


def attending(net: Net, change=lambda net, scores: scores, after=lambda net, p: p) -> Graph:
    """`change` makes scores of the scaled product, `after` weights of the probabilities."""
    q, k, v = three(net)
    scores = net.Mul(net.MatMul(heads(net, q), heads(net, k, (0, 2, 3, 1))), 0.3)
    weights = after(net, net.Softmax(change(net, scores)))
    return net.done(joined(net, net.MatMul(weights, heads(net, v))))


def sized(queries: int = LENGTH, keys: int = LENGTH, **more) -> Net:
    return Net(q=(2, queries, WIDTH), k=(2, keys, WIDTH), v=(2, keys, WIDTH), **more)


def fused(graph: Graph) -> Graph:
    Fuse().run(graph)
    return graph


def sparsified(graph: Graph, window: int) -> FusionOp:
    fused(graph)
    record = SparsifyAttention(window).run(graph)
    assert record.fired[RULE] == 1, record.near_misses()
    (found,) = attentions(graph)
    assert attention_window(found) == window
    return found


def inner(fusion: FusionOp) -> list[str]:
    return [op.name.removeprefix("onnx.") for op in fusion.block.ops if not isinstance(op, onnx.Constant)]


def band(window: int, length: int = LENGTH) -> np.ndarray:
    return np.abs(np.subtract.outer(np.arange(length), np.arange(length))) <= window


def test_a_band_chooses_before_the_softmax() -> None:
    (found,) = attentions(fused(attending(qkv_net())))
    before = inner(found)
    start = before.index("Mul")
    assert before[start : start + 2] == ["Mul", "Softmax"]
    assert attention_window(found) is None
    after = inner(sparsified(attending(qkv_net()), 3))
    start = after.index("Mul")
    assert after[start : start + 7] == ["Mul", "Shape", "ConstantOfShape", "Trilu", "Trilu", "Where", "Softmax"]
    assert "IsNaN" not in after, "each query sees itself"


def test_a_mask_may_leave_nothing_of_a_window() -> None:
    """So that what would be NaN is guarded; once."""
    masked = attending(qkv_net(m=("n", 1, 1, "s")), lambda net, scores: net.Add(scores, net.inputs()[3]))
    assert inner(sparsified(masked, 3)).count("IsNaN") == 1
    guarded = attending(
        qkv_net(m=("n", 1, 1, "s")),
        lambda net, scores: net.Add(scores, net.inputs()[3]),
        lambda net, p: net.Where(net.IsNaN(p), np.float32(0), p),
    )
    assert inner(sparsified(guarded, 3)).count("IsNaN") == 1


@pytest.mark.parametrize("window", [1, 4, LENGTH - 2])
@pytest.mark.parametrize("free", [True, False])
def test_as_a_model_with_the_mask_written_out(window: int, free: bool) -> None:
    """By ONNX Runtime: plain, causal with -inf, and padding that leaves queries without any key."""
    low = np.where(np.tri(LENGTH, dtype=bool), np.float32(0), np.float32(-np.inf))
    padding = np.where(np.arange(LENGTH) < LENGTH - 4, np.float32(0), np.float32(-np.inf))
    masks = [np.zeros((1, 1), np.float32), low, np.broadcast_to(padding, (LENGTH, LENGTH))]
    for mask in masks:
        explicit = mask + np.where(band(window), np.float32(0), np.float32(-np.inf))
        whole = attending(
            sized(),
            lambda net, scores, explicit=explicit: net.Add(scores, explicit),
            lambda net, p: net.Where(net.IsNaN(p), np.float32(0), p),
        )
        near = attending(
            qkv_net() if free else sized(),
            lambda net, scores, mask=mask: net.Add(scores, mask) if mask.any() else scores,
        )
        sparsified(near, window)
        inputs = feeds(whole)
        np.testing.assert_allclose(run(near, inputs)[0], run(whole, inputs)[0], rtol=1e-5, atol=1e-6)


def refusal(graph: Graph, window: int = 3) -> str:
    text = fused(graph).text()
    (miss,) = SparsifyAttention(window).run(graph).near_misses()
    assert graph.text() == text
    return miss.reason


def test_refusals_say_why() -> None:
    assert refusal(attending(sized(5, 9))).startswith("queries and keys of different numbers")
    other = Net(q=("n", "s", WIDTH), k=("n", "t", WIDTH), v=("n", "t", WIDTH))
    assert refusal(attending(other)).startswith("queries and keys of different numbers")
    assert refusal(attending(sized()), LENGTH - 1) == f"no key lies further than {LENGTH - 1} from a query"
    exponential = attending(sized(), after=lambda net, p: net.Exp(p))
    assert refusal(exponential) == "onnx.Exp gives weight to what has no probability"
    inverse = attending(sized(), after=lambda net, p: net.Div(np.float32(1), p))
    assert refusal(inverse) == "onnx.Div gives weight to what has no probability"
    chosen = attending(sized(), after=lambda net, p: net.Where(net.IsNaN(p), np.float32(0.5), p))
    assert refusal(chosen) == "onnx.Where gives weight to what has no probability"
    twice = attending(sized())
    sparsified(twice, 3)
    (miss,) = SparsifyAttention(5).run(twice).near_misses()
    assert miss.reason == "it is approximated already"


def test_what_keeps_zeros_is_taken() -> None:
    scale, zero = np.float32(1 / 255), np.uint8(7)
    quantized = attending(
        sized(), after=lambda net, p: net.DequantizeLinear(net.QuantizeLinear(p, scale, zero), scale, zero)
    )
    Pipeline.parse("fuse{quantized-attention=true}").run(quantized)
    assert SparsifyAttention(3).run(quantized).changed
    assert SparsifyAttention(3).run(fused(attending(sized(), after=lambda net, p: net.Mul(p, 0.5)))).changed


def test_the_window_is_part_of_the_key() -> None:
    keys = {Workload.of(sparsified(attending(qkv_net()), window)).key() for window in (3, 4)}
    assert len(keys) == 2
    assert any("of keys within 3" in key for key in keys)


@pytest.mark.parametrize("text", ["sparsify-attention{window=0}", "sparsify-attention{window=-4}"])
def test_windows_of_nothing(text: str) -> None:
    with pytest.raises(UsageError, match="window is a number of positions, 1 or more"):
        Pipeline.parse(text)


@pytest.mark.parametrize("text", ["sparsify-attention{width=2}", "sparsify-attention{window=x}"])
def test_other_options(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"the options of sparsify-attention are window: int . None, keep: float . None"
    ):
        Pipeline.parse(text)
