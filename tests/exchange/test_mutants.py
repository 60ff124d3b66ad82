"""Damaged models: one message each, never a traceback."""

from __future__ import annotations

import contextlib
import itertools

import numpy as np
import pytest

import dsc
from dsc.errors import DscError
from tests.exchange.mutants import damaged_bytes, damaged_structure, seeds


def test_the_models_are_valid_before() -> None:
    for proto in seeds():
        dsc.import_onnx(proto).verify()


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files(seed: int) -> None:
    for data in itertools.islice(damaged_bytes(np.random.default_rng(seed)), 100):
        with contextlib.suppress(DscError):
            dsc.import_onnx(data).verify()


@pytest.mark.parametrize("seed", range(4))
def test_damaged_graphs(seed: int) -> None:
    """Those that are taken are compiled, a few of them, and what is compiled is right or refused as a whole."""
    compiled = 0
    for proto in itertools.islice(damaged_structure(np.random.default_rng(seed)), 100):
        with contextlib.suppress(DscError):
            graph = dsc.import_onnx(proto)
            graph.verify()
            if compiled < 4:
                dsc.compile(graph, opt_level=0, threads=1)
                compiled += 1
