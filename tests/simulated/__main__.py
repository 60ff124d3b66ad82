"""Models of the zoo on a simulated GPU, as a table: `python -m tests.simulated --target cuda:sm_80 squeezenet`."""

from __future__ import annotations

import argparse

from dsc.targets import target
from tests.simulated.zoo import BARS, LAUNCHES, outcome
from tests.ten_models import TEN_MODELS


def main() -> None:
    """Exit code 1 where a model differs, or takes too many launches."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulated", description=__doc__)
    parser.add_argument("--target", default="cuda:sm_80", help="a GPU that can be simulated")
    parser.add_argument("--precision", default="fp32", choices=BARS, help="what tensors are stored and multiplied in")
    parser.add_argument("--watch", action="store_true", help="every access to memory: several times as slow")
    parser.add_argument("models", nargs="*", metavar="ONLY", help="names of the zoo; ten by default")
    arguments = parser.parse_args()
    onto, failures = target(arguments.target), 0
    print(f"{'model':<20} {'error':>8}  top-1  launches/regions  coalesced  seconds: compile, run")
    for name in arguments.models or TEN_MODELS:
        found = outcome(name, onto, arguments.precision, checks=arguments.watch)
        failures += not found.passed
        top = {True: "same", False: "OTHER", None: "-"}[found.same_top]
        share = "-" if found.coalescing is None else f"{found.coalescing:.0%}"
        print(
            f"{name:<20} {found.error:8.1e}  {top:<5}  {found.launches:>8}/{found.regions:<7}  {share:>9}  "
            f"{found.compiling:.0f}, {found.running:.0f}  "
            + ", ".join(f"{kernel} x{count}" for kernel, count in found.kernels.most_common()),
            flush=True,
        )
    bars = f"{BARS[arguments.precision]:g} or {LAUNCHES:g} launches a region"
    print(f"{failures} models are beyond {bars}" if failures else "all passed")
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
