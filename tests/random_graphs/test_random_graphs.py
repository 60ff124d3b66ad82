"""Some random graphs at -O0 and -O2. DSC_SEED says which ("random" for new ones); `make fuzz` runs many more."""

from __future__ import annotations

import os

import pytest

from tests.random_graphs.workers import verdicts

PARTS, GRAPHS = 5, 7
_SAID = os.environ.get("DSC_SEED", "20261125")
SEED = int.from_bytes(os.urandom(4), "little") if _SAID == "random" else int(_SAID)


@pytest.mark.parametrize("part", range(PARTS))
def test_random_graphs(part: int) -> None:
    """No difference from the references, no exception, no crash."""
    first = SEED + part * GRAPHS
    print(f"seeds {first} to {first + GRAPHS - 1}")
    found = list(verdicts(range(first, first + GRAPHS), jobs=1))
    faults = [
        f"python -m tests.random_graphs --only {v.seed}: {v.fault or v.refused}" for v in found if v.fault or v.refused
    ]
    assert not faults, "\n".join(faults)
