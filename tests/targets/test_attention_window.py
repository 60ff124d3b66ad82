"""Attention within a window: against exact arithmetic with an explicit mask, and which keys are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import tvm

from dsc.targets import Implementation, Refusal
from dsc.targets.cpu.attention import Attention
from dsc.targets.cpu.attention.code import Blocking
from dsc.targets.cpu.attention.factors import in_fours, in_pairs
from dsc.targets.cpu.attention.masking import Masking
from dsc.targets.cpu.attention.space import AttentionSpace
from dsc.targets.cpu.machine import Cpu
from dsc.targets.tir.loops import function
from tests.kernels import machine
from tests.targets.quantized_attention import QuantizedAttention, exact
from tests.targets.regions import library
from tests.targets.test_attention import GUARDED, MACHINES, MASKED, SCALED, WHERE, heads
from tests.targets.test_skipped_keys import Present
from tests.targets.weighted import Weighted, check
from tests.targets.windowed_attention import WindowedAttention, attention, band

LOW = (-1e4, -np.inf, float(np.finfo(np.float32).min))


def windowed(of: Weighted, window: int) -> WindowedAttention:
    return WindowedAttention(of.text, of.sizes, window=window)


def apart(length: int | str, between: str, mask: str = "", batch: int = 2) -> Weighted:
    """Three heads of 24 that lie apart; `between` makes w of the product p."""
    shapes = [f"float[{batch},3,{a},{b}]" for a, b in ((length, 24), (24, length), (length, 24))]
    given = ", ".join(f"{shape} {name}" for shape, name in zip(shapes, "qkv", strict=True))
    text = f"({given}{', ' if mask else ''}{mask}) => ({shapes[2]} y) {{ p = MatMul(q, k) {between} y = MatMul(w, v) }}"
    return Weighted(text, {} if isinstance(length, int) else {length: 0}, kind="attention")


PLAIN, ADDED = "w = Softmax<axis=-1>(p)", "pm = Add(p, mask) w = Softmax<axis=-1>(pm)"
CASES = [
    windowed(heads((1, 32, 2, 16), SCALED), 1),
    windowed(heads((2, 137, 3, 24), MASKED, "float[2,1,1,137] mask"), 5),
    windowed(heads((1, 3, 2, 5), SCALED), 1),
    windowed(heads((1, 65, 1, 40), MASKED, "float[1,1,65,65] mask"), 63),
    windowed(heads(("b", "s", 2, 32), MASKED, "float[b,1,1,s] mask", b=2, s=119), 30),
    windowed(heads(("b", "s", 2, 32), MASKED, "float[b,1,1,s] mask", b=1, s=1), 30),
    windowed(heads(("b", "s", 2, 32), SCALED, b=3, s=17), 30),
    windowed(heads(("b", "s", 3, 8), WHERE, "bool[1,1,s,s] mask", b=2, s=170), 2),
    windowed(heads((1, 120, 2, 16), GUARDED, "float[1,1,120,120] mask"), 7),
    windowed(Weighted("(float[3,77,16] q, float[3,16,77] k, float[3,77,40] v) => (float[3,77,40] y)"
                      "{ p = MatMul(q, k) w = Softmax<axis=-1>(p) y = MatMul(w, v) }"), 11),
]  # fmt: skip


def space_of(of: WindowedAttention, where: Cpu | None = None) -> AttentionSpace:
    found = Attention().match(of.workload(), where or machine())
    assert isinstance(found, AttentionSpace), found
    return found


def compiled(of: WindowedAttention, where: Cpu | None = None) -> list[tvm.runtime.PackedFunc]:
    """The code of the best point; where it skips what masks remove, also without that."""
    space = space_of(of, where)
    point = min(space.points(), key=space.estimate)
    points = [point, *([replace(point, skipped=0)] if point.skipped else [])]
    return library([space.build(each) for each in points], where or machine())


def outputs(function: tvm.runtime.PackedFunc, arrays: Sequence[np.ndarray]) -> np.ndarray:
    result = tvm.runtime.tensor(np.full(arrays[0].shape, 77, np.float32))
    function(*map(tvm.runtime.tensor, arrays), result)
    return result.numpy()


def arrays(length: int, batch: int = 2, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    shapes = ((length, 24), (24, length), (length, 24))
    return [random.standard_normal((batch, 3, *shape), np.float32) for shape in shapes]


@pytest.mark.parametrize("where", MACHINES, ids=lambda m: m.name)
def test_as_onnx_runtime_computes_what_is_exported(where: Cpu) -> None:
    check(Attention(), CASES, where)


LENGTHS = (1, 3, 47, 128, 301)


@pytest.mark.parametrize("window", [1, 40, 300])
def test_lengths_below_and_above_the_window(window: int) -> None:
    """Without a mask, and with one of padding, of a triangle, of both, and of all keys."""
    (plain,) = compiled(windowed(apart("s", PLAIN), window))
    masked = compiled(windowed(apart("s", ADDED, "float[2,1,s,s] mask"), window))
    for length in LENGTHS:
        given, seen = arrays(length, seed=window), band(length, window)
        expected = attention(*given, np.where(seen, 0, -np.inf))
        np.testing.assert_allclose(outputs(plain, given), expected, atol=1e-5, rtol=1e-4)
        kept = np.arange(length) < np.array([length, max(1, length // 3)])[:, None, None, None]
        triangle = np.tri(length, dtype=bool)
        for chosen, low in product((kept, triangle, kept & triangle, np.zeros_like(kept)), LOW):
            left = np.broadcast_to(chosen, (2, 1, length, length))
            mask = np.where(left, np.float32(0), np.float32(low))
            expected = attention(*given, np.where(seen, mask.astype(np.float64), -np.inf))
            # where all that is seen is masked by -1e4, scores of float32 are rounded to a thousandth
            allowed = np.where((seen & left).any(-1) | (low < -1e4), 1e-5, 5e-3)[..., None]
            for code in masked:
                assert (np.abs(outputs(code, [*given, mask]) - expected) <= allowed).all()


@pytest.mark.parametrize("length", [300, "s"])
def test_keys_outside_are_not_read(length: int | str) -> None:
    """NaN beyond the blocks of a window reaches no query but those whose blocks have it."""
    of = windowed(apart(length, PLAIN), 20)
    space = space_of(of)
    point = min(space.points(), key=space.estimate)
    (code,) = library([space.build(point)], machine())
    given = arrays(300)
    expected = outputs(code, given)
    for key in (0, 150, 299):
        spoilt = [array.copy() for array in given]
        spoilt[1][..., key], spoilt[2][..., key, :] = np.nan, np.nan
        found, far = outputs(code, spoilt), np.abs(np.arange(300) - key) > 20 + point.rows + point.keys
        np.testing.assert_array_equal(found[:, :, far], expected[:, :, far])
        assert np.isnan(found[:, :, key]).all()
        assert far.sum() > 150


def computed(of: WindowedAttention, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, Blocking]:
    """Which keys each task goes through: one row for each."""
    space = space_of(of)
    point = replace(min(space.points(), key=space.estimate), vectors=1, lanes=16)
    masking = space.masking if isinstance(space.masking, Masking) else None
    with function() as made:
        Present(space.problem, point, space.machine, masking).write()
    (code,) = library([Implementation(made.get())], space.machine)
    result = tvm.runtime.tensor(np.zeros(arrays[2].shape, np.float32))
    code(*map(tvm.runtime.tensor, arrays), result)
    return result.numpy()[0, 0, :: point.rows] == 1, point


def test_which_keys_a_task_goes_through() -> None:
    """The blocks that have a key within the window of one of its queries; of these, what a mask leaves."""
    length, window = 300, 33
    text = f"(float[1,1,{length},8] q, float[1,1,8,{length}] k, float[1,1,{length},{length}] v"
    result = f"(float[1,1,{length},{length}] y) {{ p = MatMul(q, k)"
    random = np.random.default_rng(0)
    given = [random.standard_normal(shape, np.float32) for shape in ((1, 1, length, 8), (1, 1, 8, length))]
    given.append(np.ones((1, 1, length, length), np.float32))
    seen = band(length, window)

    def blocks(kept: np.ndarray, rows: int, size: int) -> np.ndarray:
        tasks = [kept[first : first + rows].any(axis=0) for first in range(0, length, rows)]
        found = [np.stack(tasks)[:, first : first + size].any(-1) for first in range(0, length, size)]
        return np.stack(found, -1).repeat(size, -1)[:, :length]

    plain = WindowedAttention(f"{text}) => {result} {PLAIN} y = MatMul(w, v) }}", window=window)
    found, point = computed(plain, given)
    np.testing.assert_array_equal(found, blocks(seen, point.rows, point.keys))
    masked = f"{text}, float[1,1,{length},{length}] mask) => {result} {ADDED} y = MatMul(w, v) }}"
    for kept in (np.tri(length, dtype=bool), np.broadcast_to(np.arange(length) < 120, (length, length))):
        mask = np.where(kept, np.float32(0), np.float32(-1e4))[None, None]
        found, point = computed(WindowedAttention(masked, window=window), [*given, mask])
        assert point.skipped
        # a query that sees padding only keeps what it sees, and so do those of its block
        alone = ~(seen & kept).any(-1)
        whole = np.repeat(
            [alone[first : first + point.rows].any() for first in range(0, length, point.rows)], point.rows
        )
        left = seen & (kept | whole[:length, None])
        np.testing.assert_array_equal(found, blocks(left, point.rows, point.skipped))


def test_pairs() -> None:
    """Of bfloat16: tasks begin at an even key."""
    of = windowed(heads((2, 150, 2, 32), MASKED, "float[2,1,1,150] mask"), 9)
    rounded = replace(of.workload(), multiplied_as="bfloat16")
    space = Attention().match(rounded, machine("x86:znver4"))
    assert isinstance(space, AttentionSpace)
    assert in_pairs(space.problem, space.machine)
    if not machine().multiply_adds("bfloat16", "bfloat16", "float32"):
        pytest.skip("this processor does not multiply bfloat16")
    point = min(space.points(), key=space.estimate)
    assert point.skipped
    given = of.arrays()
    given[3] = np.where(np.arange(150) < np.array([150, 60])[:, None, None, None], 0, -1e4).astype(np.float32)
    expected = of.reference(given)[0]
    found = [
        outputs(code, given)
        for code in library([space.build(replace(point, skipped=n)) for n in (point.skipped, 0)], space.machine)
    ]
    some = np.arange(150) < np.array([150, 60 + 9])[:, None]
    for each in found:
        np.testing.assert_allclose(each[some], expected[some], atol=6e-2)  # as without a window


@pytest.mark.parametrize("zeros", [(128, 121, 130, 0), (3, 250, 90, 255)], ids=str)
def test_fours_of_bytes(zeros: tuple[int, ...]) -> None:
    """Weights that are quantized: that of a key outside is the zero point, which adds nothing."""
    of = QuantizedAttention.of((1, 2, 161, 161, 20, 40), [np.uint8(zero) for zero in zeros])
    near = WindowedAttention(of.text, window=13)
    space = space_of(near, machine("x86:znver4"))
    assert in_fours(space.problem, space.machine)
    if not in_fours(space.problem, machine()):
        pytest.skip("this processor does not multiply four bytes at once")
    given = of.arrays()
    (code,) = library([space.build(min(space.points(), key=space.estimate))], space.machine)
    result = tvm.runtime.tensor(np.full((1, 2, 161, 40), 77, np.float32))
    code(*map(tvm.runtime.tensor, given), result)
    given[3] = given[3] + np.where(band(161, 13), 0, -np.inf)
    expected, off = exact(given)
    assert (np.abs(result.numpy() - expected) <= off).all()


def test_the_window_is_no_mask_that_is_read() -> None:
    """Where nothing else removes keys, nothing goes ahead of the tasks."""
    space = space_of(windowed(heads((1, 320, 2, 16), SCALED), 20))
    assert space.masking == Refusal("no mask but the window, of which kernels know without reading it")
    assert not any(point.skipped for point in space.points())
    both = space_of(windowed(heads((1, 320, 2, 16), MASKED, "float[1,1,1,320] mask"), 20))
    assert isinstance(both.masking, Masking)


def test_the_estimate_is_of_the_keys_near() -> None:
    near, far = (space_of(windowed(heads((1, 2048, 2, 64), SCALED), window)) for window in (64, 1500))
    times = [min(map(space.estimate, space.points())) for space in (near, far)]
    assert 4 < times[1] / times[0] < 20
