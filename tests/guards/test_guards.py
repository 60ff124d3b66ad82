"""Kernels touch nothing but their tensors. `make guard` runs all subjects; here are some, chosen anew by the day."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.guards.drive import outcomes
from tests.guards.memory import build_guard
from tests.guards.subjects import sized

EACH = 7
"""One in so many subjects runs in a test."""


def test_models_of_ragged_sizes_stay_inside_of_their_tensors() -> None:
    first = int(time.time() // 86400) % EACH
    found = outcomes(list(sized())[first::EACH])
    assert {name: outcome for name, outcome in found.items() if outcome != "ok"} == {}
    assert len(found) > 20


def test_a_read_outside_is_noticed(tmp_path: Path) -> None:
    guard = build_guard(tmp_path)
    program = (
        "import sys, ctypes\n"
        "from tests.guards.memory import Placement, place\n"
        "place(Placement[sys.argv[1]])\n"
        "data = ctypes.c_void_p()\n"
        "assert ctypes.CDLL(None).posix_memalign(ctypes.byref(data), 64, 20) == 0\n"
        "place(Placement.OFF)\n"
        "print(ctypes.cast(data, ctypes.POINTER(ctypes.c_float))[int(sys.argv[2])])\n"
    )
    environment = {**os.environ, "LD_PRELOAD": str(guard)}

    def end(placement: str, index: int) -> int:
        command = [sys.executable, "-c", program, placement, str(index)]
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode

    assert [end("AT_END", index) for index in (4, 5)] == [0, -11]
    assert [end("AT_BEGIN", index) for index in (0, -1)] == [0, -11]


def test_tensors_of_a_run_are_guarded(tmp_path: Path) -> None:
    program = (
        "import tvm\n"
        "from tests.guards.memory import Placement, place, served\n"
        "place(Placement.AT_END)\n"
        "before = served()\n"
        "tensor = tvm.runtime.empty((5,), 'float32')\n"
        "assert served() > before\n"
        "assert (tensor.data_ptr() + 20) % 4096 == 0\n"
    )
    environment = {**os.environ, "LD_PRELOAD": str(build_guard(tmp_path))}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
