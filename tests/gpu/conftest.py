"""The GPU of this host."""

from __future__ import annotations

import pytest

from tests.gpu.device import RealDevice, real_device


@pytest.fixture
def device() -> RealDevice:
    """Skips the test where there is none."""
    return real_device()
