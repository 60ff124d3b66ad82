from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.artifacts import Sum, make_sum


@pytest.fixture(scope="session")
def compiled_sum() -> Sum:
    return make_sum()


@pytest.fixture
def artifact(compiled_sum: Sum, tmp_path: Path) -> Path:
    return compiled_sum.write(tmp_path / "sum.dsc")
