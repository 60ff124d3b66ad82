"""Models of the zoo from bundles, as a table: `python -m tests.bundle --target arm resnet50 gpt2`."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dsc.check.simulated import simulated
from dsc.simulator import simulated_environment
from dsc.targets import AnyTarget, target
from dsc.targets.gpu.machine import Gpu
from tests.bundle.arm import launcher
from tests.bundle.zoo import BAR, outcome
from tests.ten_models import TEN_MODELS


@contextmanager
def started(onto: AnyTarget) -> Iterator[tuple[AnyTarget, tuple[str, ...]]]:
    """What to compile for, and how commands of its bundles are started: a GPU's code is the simulator's."""
    if not isinstance(onto.machine, Gpu):
        yield onto, launcher(onto.backend())
        return
    variables = simulated_environment(onto.machine.arch).items()
    with simulated(onto, checks=False) as (simulators, _):
        yield simulators, ("env", *(f"{name}={value}" for name, value in variables))


def main() -> None:
    """Exit code 1 where a model differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.bundle", description=__doc__)
    parser.add_argument("--target", default="x86", help="x86, natively; arm, by qemu; cuda, rocm, simulated; or a tag")
    parser.add_argument("models", nargs="*", metavar="ONLY", help="names of the zoo; ten models by default")
    arguments = parser.parse_args()
    print(f"{'model':<20} {'error':>8}  top-1  seconds of compiling and running")
    with started(target(arguments.target)) as (onto, start):
        failures = sum(not passes(name, onto, start) for name in arguments.models or TEN_MODELS)
    print(f"{failures} models are beyond {BAR:g}" if failures else f"all within {BAR:g}")
    raise SystemExit(bool(failures))


def passes(name: str, onto: AnyTarget, start: tuple[str, ...]) -> bool:
    """Whether a model is near enough; prints its row."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = outcome(name, onto, Path(folder), start)
    top = {True: "same", False: "OTHER", None: "-"}[found.same_top]
    print(f"{name:<20} {found.error:8.1e}  {top:<5}  {time.monotonic() - began:.0f}", flush=True)
    return found.passed


if __name__ == "__main__":
    main()
