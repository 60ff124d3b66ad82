"""Products by sparse weights fetch little that they do not use, also where rows are no whole pieces of memory."""

from __future__ import annotations

import random

import pytest

from dsc.targets.gpu.sparse import SparseMatmul
from dsc.targets.gpu.structured import StructuredMatmul
from tests.coalescing.sparse import assert_used, counted, products

SEED = random.SystemRandom().randrange(1 << 30)


@pytest.mark.parametrize("arch", ["sm_80", "gfx942"])
@pytest.mark.parametrize("element", ["float32", "float16"])
def test_of_blocks_of_outputs(element: str, arch: str) -> None:
    """(0.08 to 0.24 for odd rows, where neighbouring threads load elements of neighbouring rows.)"""
    assert_used(counted(SparseMatmul(), products(element, "4x1", 0.1), arch, SEED))


def test_of_two_of_four() -> None:
    assert_used(counted(StructuredMatmul(), products("float16", "2:4", 0.5), "sm_80", SEED))
