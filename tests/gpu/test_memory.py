"""No kernel touches memory that is not its own: NVIDIA's checker watches tests of kernels run on the device."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.gpu.device import RealDevice

pytestmark = pytest.mark.gpu

WATCHED = (
    *("test_contraction.py", "test_generic.py", "test_attention.py", "test_transpose.py"),
    *("test_sparse_matmul.py", "test_structured_matmul.py"),
)


@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_accesses_are_right(tool: str, device: RealDevice) -> None:
    if device.target.family.name != "cuda":
        pytest.skip("compute-sanitizer is NVIDIA's, for CUDA")
    checker = shutil.which("compute-sanitizer")
    if checker is None:
        pytest.skip("compute-sanitizer is not on PATH (it is part of the CUDA toolkit)")
    tests = [f"tests/targets/cuda/{name}" for name in WATCHED]
    command = [checker, "--tool", tool, "--error-exitcode", "9", sys.executable, "-m", "pytest", "-m", "gpu", *tests]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
