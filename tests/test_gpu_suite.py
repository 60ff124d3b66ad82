"""The tests for real GPUs, where there is none: skipped, saying so, and never run unasked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tvm

from dsc.targets.rocm.host import TOPOLOGY

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(tvm.cuda(0).exist or TOPOLOGY.exists(), reason="there is a GPU here, or one was simulated before")
def test_without_a_device_all_are_skipped_with_the_reason() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "gpu",
        "-rs",
        "-p",
        "no:cacheprovider",
        "tests/gpu",
        "tests/targets/cuda",
    ]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "CI": "true"}
    )
    assert done.returncode == 0, done.stdout[-2000:]
    reasons = re.findall(r"^SKIPPED \[(\d+)\] (\S+): (.*)$", done.stdout, re.MULTILINE)
    assert {reason.partition(":")[0] for *_, reason in reasons} == {"no CUDA device, and no GPU of AMD's"}
    assert sum(int(count) for count, *_ in reasons) > 25
    assert {place.split("/")[1] for _, place, _ in reasons} == {"gpu", "targets"}
    assert "passed" not in done.stdout
    assert "failed" not in done.stdout


def test_they_run_only_where_they_are_asked_for(pytestconfig: pytest.Config) -> None:
    assert "not gpu" in pytestconfig.getini("addopts")
