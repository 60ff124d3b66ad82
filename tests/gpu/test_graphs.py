"""Runs as graphs on the GPU of this host: the real driver captures them, and gives the same bytes as without."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dsc.pipeline import compile_model
from tests.gpu.device import RealDevice
from tests.runtime.test_graphs import DEPTH, PLAIN

pytestmark = pytest.mark.gpu


def test_graphs_give_what_launches_do(device: RealDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """On other inputs in each run, in threads that capture while others run. A capture that is refused is a warning."""
    model = compile_model(PLAIN.proto(), target="cuda:native").model
    assert not model.manifest.uncaptured
    captured = model.load()
    with monkeypatch.context() as context:
        context.setenv("DSC_GRAPHS", "0")
        plain = model.load()

    def is_same(seed: int) -> bool:
        feeds = {"x": np.random.default_rng(seed).standard_normal((1, DEPTH), np.float32)}
        return captured.run(feeds)["y"].tobytes() == plain.run(feeds)["y"].tobytes()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(is_same(seed) for seed in range(5))
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(is_same, range(5, 37)))
