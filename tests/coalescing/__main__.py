"""Coalescing of models of the zoo, kernel by kernel: `python -m tests.coalescing --target rocm:gfx942 squeezenet`."""

from __future__ import annotations

import argparse

from dsc.precision import PRECISIONS
from dsc.targets import target
from tests.coalescing.survey import Fetched, survey
from tests.ten_models import TEN_MODELS

BAR = 0.8
"""Of an ideal layout: issue 7."""


def main() -> None:
    """Exit code 1 where a model, all its kernels together, is below the bar."""
    parser = argparse.ArgumentParser(prog="python -m tests.coalescing", description=__doc__)
    parser.add_argument("--target", default="cuda:sm_80", help="a GPU that can be simulated")
    parser.add_argument("--precision", default="fp32", choices=PRECISIONS, help="what tensors are stored in")
    parser.add_argument("--image", type=int, nargs=2, metavar=("H", "W"), help="smaller images than the pinned ones")
    parser.add_argument("--pattern", help="prune weights to it before, as 16x1 or 2:4")
    parser.add_argument("--rows", type=int, default=12, help="kernels below the bar that are printed of each model")
    parser.add_argument("models", nargs="*", metavar="ONLY", help="names of the zoo; ten by default")
    arguments = parser.parse_args()
    onto, failures = target(arguments.target), 0
    for name in arguments.models or TEN_MODELS:
        found = survey(name, onto, arguments.precision, arguments.image, arguments.pattern)
        failures += summary(name, found, arguments.rows) < BAR
    raise SystemExit(bool(failures))


def summary(name: str, found: list[Fetched], rows: int) -> float:
    """Print the share of a model and its worst kernels; gives the share."""
    sectors, ideal = sum(each.sectors for each in found), sum(each.ideal for each in found)
    below = [each for each in found if each.share < BAR]
    print(f"{name}: {ideal / sectors:.0%} of {sectors} sectors; {len(below)} of {len(found)} kernels below {BAR:.0%}")
    for each in below[:rows]:
        choice = each.choice
        print(f"    {each.share:4.0%}, {each.wasted / sectors:5.1%} of all wasted: {choice.function} {choice.kernel}")
        print(f"        {choice.point}\n        {_short(choice.workload)}", flush=True)
    return ideal / sectors


def _short(workload: str) -> str:
    return " ".join(workload.split())[:400]


if __name__ == "__main__":
    main()
