"""Attention on GPUs, in one pass, against ONNX Runtime: layouts of heads, masks, ragged and symbolic lengths."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np
import tvm

from dsc.targets import Point, Refusal, Space
from dsc.targets.gpu.attention import Attention
from dsc.targets.gpu.attention.blocking import BLOCKINGS
from tests.gpu.device import Device
from tests.targets.chosen_keys import ADDED, ChosenAttention, text
from tests.targets.cuda.simulated import backend, check, device, every, library, machine
from tests.targets.regions import Region
from tests.targets.test_attention import CASES, MASKED, heads
from tests.targets.windowed_attention import WindowedAttention

WINDOWED = heads((2, 37, 2, 16), MASKED, "float[2,1,1,37] mask")


def test_layouts_masks_and_lengths(simulation: Device) -> None:
    turn = count()

    def in_turn(space: Space) -> Sequence[Point]:
        points = space.points()
        return [points[next(turn) % len(points)]]

    check(Attention(), CASES, simulation, in_turn)


def test_windows(simulation: Device) -> None:
    """As a mask that is computed: no key is skipped."""
    near = WindowedAttention(WINDOWED.text, WINDOWED.sizes, window=9)
    check(Attention(), [near], simulation, lambda space: space.points()[:2])


def test_chosen_keys(simulation: Device) -> None:
    """Likewise."""
    cases = [
        ChosenAttention(text((1, 100)), options="keep=0.5"),
        ChosenAttention(text((2, 70), "float[2,1,1,70] mask", ADDED), options="keep=0.4 window=40"),
    ]
    check(Attention(), cases, simulation, lambda space: space.points()[:2])


def test_every_blocking(in_any_order: Device) -> None:
    check(Attention(), [heads((1, 77, 1, 20), MASKED, "float[1,1,1,77] mask")], in_any_order, every)


def test_scores_that_grow_and_rows_without_any(simulation: Device) -> None:
    """The largest score comes last, is far above the others, or there is none: all are -inf."""
    region = Region(
        "(float[1,70,8] q, float[1,8,70] k, float[1,70,8] v, float[1,70,70] m) => (float[1,70,8] y)"
        "{ p = MatMul(q, k) s = Add(p, m) w = Softmax<axis=-1>(s) y = MatMul(w, v) }"
    )
    space = Attention().match(region.workload(), machine(simulation.arch))
    assert not isinstance(space, Refusal)
    q, k, v, mask = region.arrays()
    mask = mask + np.arange(70, dtype=np.float32) * 3
    mask[0, 5] = -np.inf
    mask[0, 6, :69] = -np.inf
    mask[0, 7, 3] = np.nan
    code = library({"k": space.build(space.points()[2]).func}, backend(simulation))
    result = tvm.runtime.tensor(np.zeros((1, 70, 8), np.float32), device(simulation))
    code["k"](*(tvm.runtime.tensor(array, device(simulation)) for array in (q, k, v, mask)), result)
    found, (expected,) = result.numpy(), region.reference([q, k, v, mask])
    assert np.isnan(found[0, 5]).all()
    assert np.isnan(found[0, 7]).all()
    rest = [row for row in range(70) if row not in (5, 7)]
    np.testing.assert_allclose(found[0, rest], expected[0, rest], rtol=1e-4, atol=1e-5)


def test_blockings_divide_and_wide_heads_are_refused() -> None:
    for blocking in BLOCKINGS:
        assert blocking.queries * blocking.across % blocking.threads == 0
        assert blocking.keys % blocking.across == 0
        assert 32 % blocking.across == 0
    wide = Region(
        "(float[1,9,2048] q, float[1,2048,9] k, float[1,9,2048] v) => (float[1,9,2048] y)"
        "{ p = MatMul(q, k) w = Softmax<axis=-1>(p) y = MatMul(w, v) }"
    )
    found = Attention().match(wide.workload(), machine())
    assert isinstance(found, Refusal)
    assert "too wide" in found.reason
