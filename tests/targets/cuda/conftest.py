"""The simulated device of these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dsc.simulator import Simulation, simulated_cuda


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    """An A100 whose threads run one after the other, the last one first: a barrier that is missing shows."""
    with simulated_cuda("sm_80", order="reverse") as found:
        yield found
