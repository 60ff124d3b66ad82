"""Models of the zoo from bundles, as a table: `python -m tests.bundle --target arm resnet50 gpt2`."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from dsc.targets import target
from tests.bundle.arm import launcher
from tests.bundle.zoo import BAR, NAMES, outcome


def main() -> None:
    """Exit code 1 where a model differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.bundle", description=__doc__)
    parser.add_argument("--target", default="x86", help="x86, natively; arm, under qemu; or any tag of them")
    parser.add_argument("models", nargs="*", metavar="ONLY", help="names of the zoo; ten models by default")
    arguments = parser.parse_args()
    onto = target(arguments.target)
    start = launcher(onto.backend())
    print(f"{'model':<20} {'error':>8}  top-1  seconds of compiling and running")
    failures = 0
    for name in arguments.models or NAMES:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found = outcome(name, onto, Path(folder), start)
        failures += not found.passed
        top = {True: "same", False: "OTHER", None: "-"}[found.same_top]
        print(f"{name:<20} {found.error:8.1e}  {top:<5}  {time.monotonic() - began:.0f}", flush=True)
    print(f"{failures} models are beyond {BAR:g}" if failures else f"all within {BAR:g}")
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
