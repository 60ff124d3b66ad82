"""The tests for real GPUs on the stand-in for libamdhip64: `python -m tests.gpu gfx942 tests/gpu/test_kernels.py`.

What is tried is the suite, and the way through dsc's HIP devices that it takes on AMD's GPUs. It is no GPU: code
objects are the simulator's images, and no time means anything.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from dsc.simulator import simulated_environment


def main() -> None:
    """Exit code of pytest's."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("arch", help="one of AMD's GPUs that can be simulated, as gfx942")
    parser.add_argument("tests", nargs="+", help="what pytest is given: files, -k, ...")
    arguments, further = parser.parse_known_args()
    environment = {**os.environ, **simulated_environment(arguments.arch, order="reverse")}
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-rs", *arguments.tests, *further]
    raise SystemExit(subprocess.run(command, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
