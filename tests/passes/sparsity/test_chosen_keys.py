"""sparsify-attention{keep}: which blocks are chosen, against exact arithmetic; what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.errors import UsageError
from dsc.exchange import import_model
from dsc.ir import FusionOp, KeptKeys, attention_keep, attention_window
from dsc.passes import Pipeline
from dsc.passes.sparsity import SparsifyAttention
from dsc.passes.sparsity.attention import attentions
from dsc.passes.sparsity.chosen_keys import BLOCK as OURS
from dsc.passes.sparsity.chosen_keys import choosing
from tests.compiled import TextModel
from tests.targets.chosen_keys import (
    ADDED,
    BLOCK,
    attention,
    attention_of,
    estimates,
    expanded,
    inputs,
    run,
    sparsified,
    text,
    workload,
)


def blocks(size: int) -> int:
    return -(-size // BLOCK)


def of_tiles(seen: np.ndarray) -> np.ndarray:
    """Whether anything of a block of queries and a block of keys is seen."""
    *_, rows, columns = seen.shape
    found = [seen[..., i : i + BLOCK, :].any(-2) for i in range(0, rows, BLOCK)]
    both = np.stack(found, -2)
    return np.stack([both[..., j : j + BLOCK].any(-1) for j in range(0, columns, BLOCK)], -1)


def expected(estimate: np.ndarray, live: np.ndarray, keep: float, own: bool) -> np.ndarray:
    """The best of the blocks that are live, the first and that of the queries before all others."""
    live = np.broadcast_to(live, estimate.shape)
    order = estimate.copy()
    order[..., 0] = np.inf
    if own:
        order[..., np.arange(order.shape[2]), np.arange(order.shape[2])] = np.inf
    order = np.where(live, order, -np.inf)
    chosen = np.zeros(order.shape, bool)
    for at in np.ndindex(order.shape[:3]):
        count = int(np.ceil(keep * live[at].sum() - 1e-3))
        if live[at].any():
            chosen[at] = live[at] & (order[at] >= np.sort(order[at])[::-1][max(count, 1) - 1])
    return chosen


def test_the_block_is_the_one_tested() -> None:
    assert OURS == BLOCK


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("length", [65, 200, 320])
def test_the_best_blocks_by_means(length: int, free: bool) -> None:
    keep = 0.4
    graph = sparsified(text(("b", "s") if free else (2, length)), f"keep={keep}")
    feeds = inputs(2, length)
    output, chosen = run(graph, feeds)
    live = np.ones((2, 1, 1, length))
    all_blocks = np.ones((2, 1, blocks(length), blocks(length)), bool)
    np.testing.assert_array_equal(chosen.astype(bool), expected(estimates(feeds, live), all_blocks, keep, own=True))
    np.testing.assert_allclose(output, attention(feeds, expanded(chosen, length, length)), atol=1e-5)


@pytest.mark.parametrize("low", [-1e4, -np.inf, float(np.finfo(np.float32).min)])
def test_padding_takes_no_part(low: float) -> None:
    """Keys of padding are in no mean, are not counted and not chosen, whatever they are."""
    length, keep = 200, 0.3
    graph = sparsified(text(("b", "s"), "float[b,1,1,s] mask", ADDED), f"keep={keep}")
    feeds = inputs(3, length)
    left = np.arange(length) < np.array([length, 100, 0])[:, None, None, None]
    feeds["k"] = np.where(left[:, 0, 0, :, None], feeds["k"], np.float32(50))  # they would be the best
    output, chosen = run(graph, {**feeds, "mask": np.where(left, np.float32(0), np.float32(low))})
    wanted = expected(estimates(feeds, left), of_tiles(left), keep, own=True)
    np.testing.assert_array_equal(chosen[:2].astype(bool), wanted[:2])
    seen = expanded(chosen, length, length) & left
    np.testing.assert_allclose(output[:2], attention(feeds, seen)[:2], atol=1e-5)
    if low == -np.inf:  # nothing is left of a text without tokens
        assert not chosen[2].any()
        assert not output[2].any()


@pytest.mark.parametrize("form", [ADDED, "pm = Where(mask, p, low) w = Softmax<axis=-1>(pm)"])
def test_a_triangle_shares_out_what_it_leaves(form: str) -> None:
    length, keep = 230, 0.3
    chosen_by = "Where" in form
    form = f"low = Constant<value=float {{-3.4e38}}>() {form}" if chosen_by else form
    graph = sparsified(
        text((1, length), f"{'bool' if chosen_by else 'float'}[1,1,{length},{length}] mask", form), f"keep={keep}"
    )
    feeds, triangle = inputs(1, length), np.tri(length, dtype=bool)[None, None]
    mask = triangle if chosen_by else np.where(triangle, np.float32(0), np.float32(-1e4))
    output, chosen = run(graph, {**feeds, "mask": mask})
    wanted = expected(estimates(feeds, np.ones((1, 1, 1, length))), of_tiles(triangle), keep, own=True)
    np.testing.assert_array_equal(chosen.astype(bool), wanted)
    np.testing.assert_allclose(output, attention(feeds, expanded(chosen, length, length) & triangle), atol=1e-5)


def test_within_a_window() -> None:
    length, window, keep = 320, 70, 0.5
    graph = sparsified(text((2, length)), f"window={window} keep={keep}")
    assert attention_window(attention_of(graph)) == window
    feeds = inputs(2, length)
    output, chosen = run(graph, feeds)
    places = np.arange(length)
    near = np.abs(places[:, None] - places)[None, None] <= window
    wanted = expected(estimates(feeds, np.ones((2, 1, 1, length))), of_tiles(near), keep, own=True)
    np.testing.assert_array_equal(chosen.astype(bool), wanted)
    np.testing.assert_allclose(output, attention(feeds, expanded(chosen, length, length) & near), atol=1e-5)


def test_keys_of_another_sequence_have_no_own_block() -> None:
    graph = sparsified(text((2, 70), keys=290), "keep=0.3")
    feeds = inputs(2, 70, 290)
    output, chosen = run(graph, feeds)
    live = np.ones((2, 1, 1, 290))
    wanted = expected(estimates(feeds, live), np.ones((2, 1, 3, 10), bool), 0.3, own=False)
    np.testing.assert_array_equal(chosen.astype(bool), wanted)
    np.testing.assert_allclose(output, attention(feeds, expanded(chosen, 70, 290)), atol=1e-5)


def test_what_is_no_number_is_kept() -> None:
    """A query that is NaN is so with all of its keys; and a key that is, is no secret to any query."""
    graph = sparsified(text((1, 320)), "keep=0.3")
    feeds = inputs(1, 320)
    feeds["q"][0, 40] = np.nan
    _, chosen = run(graph, feeds)
    assert chosen[0, :, 1].all()
    assert not chosen[0, :, 2].all()
    feeds = inputs(1, 320)
    feeds["k"][0, 170] = np.nan
    _, chosen = run(graph, feeds)
    assert chosen[0, :, :, 5].all()


def test_one_mask_is_looked_at_once() -> None:
    """By all attentions that have it; and what chooses is told from what was there."""
    two = """(float[1,96,8] x, float[1,1,96] mask) => (float[1,96,8] y) {
        xt = Transpose<perm=[0,2,1]>(x) p = MatMul(x, xt) pm = Add(p, mask) w = Softmax<axis=-1>(pm) h = MatMul(w, x)
        ht = Transpose<perm=[0,2,1]>(h) q = MatMul(h, ht) qm = Add(q, mask) u = Softmax<axis=-1>(qm)
        y = MatMul(u, h) }"""
    before = import_model(TextModel(two).proto())
    Pipeline.parse("canonicalize,fuse").run(before)
    graph = sparsified(two, "keep=0.3")
    rules = [op.rule.data for op in graph.ops() if isinstance(op, FusionOp) and op.rule is not None]
    assert rules.count("highest(mask)") == 1
    assert rules.count("mean(keys)") == 2
    added = choosing(graph)
    assert [op.name for op in graph.ops() if op not in added] == [op.name for op in before.ops()]


def refusal(of: str, options: str = "keep=0.3") -> str:
    graph = import_model(TextModel(of).proto())
    Pipeline.parse("canonicalize,fuse").run(graph)
    before = graph.text()
    pass_ = Pipeline.parse(f"sparsify-attention{{{options}}}").passes[0]
    misses = pass_.run(graph).near_misses()
    assert graph.text() == before
    return misses[-1].reason


def test_refusals_say_why() -> None:
    assert refusal(text((1, 64))) == "all of its 2 blocks of 32 keys would be kept"
    assert refusal(text((1, 320)), "keep=0.95") == "all of its 10 blocks of 32 keys would be kept"
    assert refusal(text((1, 31), keys=320)).startswith("fewer queries than a block of 32")
    bent = "e = Exp(p) w = Softmax<axis=-1>(e)"
    assert refusal(text((1, 320), between=bent)).startswith("onnx.Exp between product and softmax")
    after = "s = Softmax<axis=-1>(p) w = Exp(s)"
    assert refusal(text((1, 320), between=after)) == "onnx.Exp gives weight to what has no probability"
    masked = text((1, 96), "float[1,1,96,320] mask", ADDED, keys=320)
    assert refusal(masked).startswith("queries and keys of different numbers, and a mask for each query")


def test_a_window_may_be_all_that_is_left() -> None:
    """And the share of keys, where there is nothing outside the window."""
    graph = import_model(TextModel(text((1, 64))).proto())
    Pipeline.parse("canonicalize,fuse").run(graph)
    assert SparsifyAttention(10, 0.3).run(graph).changed
    (found,) = attentions(graph)
    assert (attention_window(found), attention_keep(found)) == (10, None)
    near = attention_of(sparsified(text((1, 320)), "window=400 keep=0.3"))
    assert (attention_window(near), attention_keep(near)) == (None, KeptKeys(0.3, BLOCK))


def test_what_is_kept_is_part_of_the_key() -> None:
    keys = {workload(sparsified(text((1, 320)), f"keep={keep}")).key() for keep in (0.3, 0.4)}
    assert len(keys) == 2
    assert any("of 0.3 of the keys in blocks of 32" in key for key in keys)


@pytest.mark.parametrize("keep", [0, 1, -0.5, 2.0])
def test_shares_of_nothing_and_of_all(keep: float) -> None:
    with pytest.raises(UsageError, match="keep is a share of keys, more than 0 and less than 1"):
        SparsifyAttention(keep=keep)


def test_one_of_the_options_is_needed() -> None:
    with pytest.raises(UsageError, match="give it a window, a share of keys to keep, or both"):
        Pipeline.parse("sparsify-attention")
    with pytest.raises(UsageError, match="expected either a space"):
        Pipeline.parse("sparsify-attention{window=256,keep=0.2}")
    both = Pipeline.parse("sparsify-attention{window=256 keep=0.2}")
    assert both.passes == (SparsifyAttention(256, 0.2),)
    assert Pipeline.parse(str(both)) == both
