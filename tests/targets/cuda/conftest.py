"""The devices of these tests: the simulated one, and with ``-m gpu`` the one that is here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dsc.simulator import simulated_cuda
from tests.gpu.device import Device, real_device

ON_DEVICE = pytest.param("device", marks=pytest.mark.gpu)
OF_CUDA = (
    *("test_backend", "test_matrix", "test_matrix_attention", "test_vector_product"),
    *("test_sparse_matmul", "test_structured_matmul"),
)
"""Tests of CUDA's own instructions, images and figures; `tests.gpu.test_kernels` is of their kernels on any GPU."""


@pytest.fixture(params=["simulated", ON_DEVICE])
def simulation(request: pytest.FixtureRequest) -> Iterator[Device]:
    """An A100 whose threads run one after the other, the last one first, so that a barrier that is missing shows."""
    yield from _device("reverse" if request.param == "simulated" else request.param, request)


@pytest.fixture(params=["forward", "reverse", ON_DEVICE])
def in_any_order(request: pytest.FixtureRequest) -> Iterator[Device]:
    """An A100 whose threads run one after the other, in both orders."""
    yield from _device(request.param, request)


def _device(kind: str, request: pytest.FixtureRequest) -> Iterator[Device]:
    """Of an order of simulated threads, or "device"."""
    if kind == "device":
        found = real_device()
        if found.target.family.name != "cuda" and request.path.stem in OF_CUDA:
            pytest.skip(f"{request.path.stem} is of CUDA alone, and the GPU here is {found.arch}")
        yield found
        return
    with simulated_cuda("sm_80", order=kind) as simulated:
        yield simulated
