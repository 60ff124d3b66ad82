"""Samples and tensors are looked at and forgotten."""

from __future__ import annotations

import tracemalloc
import weakref
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from dsc.quantize.calibration import CALIBRATORS, Values, calibrate, collect
from tests.compiled import TextModel

SIZE = 32 << 10  # floats: 128 KB
MODEL = TextModel(
    f"(float[{SIZE}] x) => (float[{SIZE}] z) {{ a = Neg(x) b = Exp(a) c = Add(a, b) z = Relu(c) }}"
).proto()


def samples(count: int, alive: list[int]) -> Iterator[dict[str, np.ndarray]]:
    """Samples of new random numbers; notes how many of those before are still there."""
    random, given = np.random.default_rng(0), list[weakref.ref[np.ndarray]]()
    for _ in range(count):
        alive.append(sum(ref() is not None for ref in given))
        array = random.standard_normal(SIZE, np.float32) * random.uniform(0, 9, ()).astype("f")
        given.append(weakref.ref(array))
        yield {"x": array}
        del array


def peak(count: int) -> int:
    """Bytes that Python and NumPy had at most."""
    tracemalloc.start()
    try:
        calibrate(MODEL, samples(count, []), list(CALIBRATORS))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_samples() -> None:
    calibrate(MODEL, samples(2, []), list(CALIBRATORS))  # what is imported and cached on first use
    few, many = peak(3), peak(30)
    assert many < few + SIZE * 4 / 2  # half a sample


def test_no_sample_is_held_longer_than_the_next_is_made() -> None:
    alive: list[int] = []
    calibrate(MODEL, samples(12, alive), list(CALIBRATORS))
    assert max(alive) <= 1


def test_no_tensor_is_held_longer_than_its_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsc.check.intermediates._BUDGET", 1)  # each node by itself
    seen: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []

    class Watcher:
        def add(self, values: Values) -> None:
            alive.append(sum(ref() is not None for ref in seen))
            seen.append(weakref.ref(values.array))

    def watch(name: str) -> Sequence[Watcher]:
        return [Watcher()]

    collect(MODEL, samples(5, []), watch)
    assert len(seen) == 5 * 5
    assert max(alive) <= 2  # the input, and the one before
