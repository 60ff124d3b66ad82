"""Checks of indices on simulated GPUs: a group of threads looks at them, and tells what one thread would."""

from __future__ import annotations

import numpy as np
import pytest

import dsc
from dsc.check.simulated import simulated
from dsc.errors import UsageError
from dsc.pipeline import compile_model
from dsc.targets import target
from tests.compiled import TextModel

TABLE = np.random.default_rng(3).standard_normal((30, 4), np.float32)
GREATEST, LEAST = 2**63 - 1, -(2**63)
MODEL = TextModel(
    """(int32[n, m] words, int64[q, 2] places) => (float[n, m, 4] y, float[q] z) {
        y = Gather(table, words)
        z = GatherND(table, places)
    }""",
    {"table": TABLE},
)
"""Each index has its check, GatherND's one for each dim of the table: the last in the order of places."""


def right(generator: np.random.Generator, n: int, m: int, q: int) -> dict[str, np.ndarray]:
    """Indices inside of the table, the least and the greatest among them."""
    places = np.stack([generator.integers(-30, 30, q), generator.integers(-4, 4, q)], axis=1)
    words = generator.integers(-30, 30, (n, m)).astype(np.int32)
    if words.size > 1:
        words.flat[0], words.flat[-1] = -30, 29
    return {"words": words, "places": places}


@pytest.mark.parametrize("name", ["cuda:sm_80", "rocm:gfx942"])
def test_what_is_told_of_indices(name: str) -> None:
    generator = np.random.default_rng(5)
    with simulated(target(name), order="reverse") as (onto, simulation):
        compiled = compile_model(MODEL.proto(), target=onto).model.load(1)
        for sizes in ((3, 137, 65), (1, 1, 1), (4, 0, 33), (2, 5, 0)):
            feeds = right(generator, *sizes)
            found = compiled.run(feeds)
            np.testing.assert_array_equal(found["y"], TABLE[feeds["words"]])
            np.testing.assert_array_equal(found["z"], TABLE[tuple(feeds["places"].T)])
        _check_told(compiled, generator)
        assert not simulation.faults()


def _check_told(compiled: dsc.CompiledModel, generator: np.random.Generator) -> None:
    """Wrong ones at any place, of any size, several at once: the first check's is told, the greatest before the
    least."""
    for wrong, message in (
        ({"words": [(410, 30)]}, "input words: Gather.*: index 30 is outside of dim 0 of data, which has 30 elements"),
        ({"words": [(0, -31)]}, "input words: Gather.*: index -31 "),
        ({"words": [(5, -2147483648), (77, 99)], "places": [(0, GREATEST)]}, "input words: Gather.*: index 99 "),
        ({"places": [(0, GREATEST), (6, 31), (128, LEAST), (129, 4)]}, f"input places: .*: index {GREATEST} .* dim 0 "),
        ({"places": [(128, LEAST), (4, -40), (129, 4)]}, f"input places: GatherND.*: index {LEAST} .* dim 0 "),
        ({"places": [(1, LEAST), (67, 4)]}, "input places: .*: index 4 is outside of dim 1 of data, which has 4 "),
    ):
        feeds = right(generator, 3, 137, 65)
        for name, changed in wrong.items():
            for place, index in changed:
                feeds[name].flat[place] = index
        with pytest.raises(UsageError, match=f"^{message}"):
            compiled.run(feeds)
