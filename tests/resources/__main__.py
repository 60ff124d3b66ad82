"""Resources of all kernels of the ten models, as a table: `python -m tests.resources --target cuda:sm_80 bert-base`."""

from __future__ import annotations

import argparse
from dataclasses import asdict

import dsc.models as zoo
from dsc.cli.kernels import estimated
from dsc.pipeline import Compilation, compile_model
from dsc.precision import PRECISIONS
from dsc.targets import target
from tests.pruned import model
from tests.resources.survey import Launch, launches
from tests.ten_models import TEN_MODELS


def main() -> None:
    """Exit code 1 where a kernel keeps in memory what could be in registers."""
    parser = argparse.ArgumentParser(prog="python -m tests.resources", description=__doc__)
    parser.add_argument("--target", default="cuda:sm_80", help="a GPU")
    parser.add_argument(
        "--precision", default="fp32", choices=PRECISIONS, help="what tensors are stored and multiplied in"
    )
    parser.add_argument("--pattern", help="prune weights to it before, as 16x1 or 2:4")
    parser.add_argument("models", nargs="*", metavar="ONLY", help="names of the zoo; the ten of the bars by default")
    arguments = parser.parse_args()
    onto, spilling = target(arguments.target), 0
    for name in arguments.models or TEN_MODELS:
        shapes: dict[str, list[int | str]] = {spec.name: list(spec.pinned) for spec in zoo.recipe(name).inputs}
        compilation = compile_model(
            model(name, arguments.pattern), target=onto, shapes=shapes, precision=arguments.precision
        )
        found = launches(compilation.model)
        summary(name, compilation, found)
        spilling += sum(not launch.in_registers for launch in found)
    print(f"{spilling} launches keep in memory what could be in registers" if spilling else "all is in registers")
    raise SystemExit(bool(spilling))


def summary(name: str, compilation: Compilation, found: list[Launch]) -> None:
    """Print the extremes of a model's launches, and each that is not all in registers."""
    with_matrix = [launch for launch in found if launch.matrix_instructions]
    print(
        f"{name:<20} {len(found)} launches, registers up to {max(launch.used.registers for launch in found)}, shared "
        f"memory up to {max(launch.used.shared_bytes for launch in found)}, occupancy from "
        f"{min(launch.used.occupancy for launch in found):.0%}; {len(with_matrix)} with "
        f"{sum(launch.matrix_instructions for launch in with_matrix)} matrix instructions; compiled in "
        f"{sum(compilation.seconds.values()):.0f} s"
    )
    if (total := estimated([asdict(choice) for choice in compilation.model.choices])) is not None:
        print(f"    {total}")
    for launch in found:
        for point, size in launch.choice.spilled:
            print(f"    {launch.used.kernel}: {point} spills {size} bytes, {launch.choice.point} was taken")
        if not launch.in_registers:
            print(f"    {launch.used.kernel}: {launch.used}, {launch.local_instructions} instructions of local memory")


if __name__ == "__main__":
    main()
