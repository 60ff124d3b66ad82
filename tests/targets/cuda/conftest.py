"""The devices of these tests: the simulated one, and with ``-m gpu`` the one that is here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dsc.simulator import simulated_cuda
from tests.gpu.device import Device, real_device

ON_DEVICE = pytest.param("device", marks=pytest.mark.gpu)


@pytest.fixture(params=["simulated", ON_DEVICE])
def simulation(request: pytest.FixtureRequest) -> Iterator[Device]:
    """An A100 whose threads run one after the other, the last one first: a barrier that is missing shows."""
    yield from _device("reverse" if request.param == "simulated" else request.param)


@pytest.fixture(params=["forward", "reverse", ON_DEVICE])
def in_any_order(request: pytest.FixtureRequest) -> Iterator[Device]:
    """An A100 whose threads run one after the other, in both orders."""
    yield from _device(request.param)


def _device(kind: str) -> Iterator[Device]:
    """Of an order of simulated threads, or "device"."""
    if kind == "device":
        yield real_device()
        return
    with simulated_cuda("sm_80", order=kind) as found:
        yield found
