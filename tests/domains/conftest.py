"""Every test takes back what it registers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.domains.registrations import taken_back


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    with taken_back():
        yield
