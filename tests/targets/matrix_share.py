"""How many of a model's multiply-adds each kernel computes, by its choices; nothing is compiled:
`python -m tests.targets.matrix_share --target cuda:sm_80 --precision fp16 resnet50 bert-base`."""

from __future__ import annotations

import argparse
from collections import Counter
from math import prod

from tvm import tirx

import dsc.models as zoo
from dsc.codegen.emit import Emitter
from dsc.codegen.selection import fastest_by_estimate
from dsc.exchange import import_model
from dsc.lower.nominal import nominal
from dsc.lower.sizes import SizeRequirements
from dsc.lower.te import lowered
from dsc.lower.workload import Workload
from dsc.pipeline import optimize, preset
from dsc.targets import target
from dsc.targets.gpu.generic.rows import reductions

BAR = 0.95
ON_MATRICES = ("gpu.matrix", "gpu.matrix_attention", "gpu.warpgroup_matrix")
"""The kernels whose multiply-adds are those of instructions on matrices."""


def macs(workload: Workload) -> int:
    """Multiply-adds of all sums of products in a workload."""
    found = 0
    for stage in reductions(lowered(workload).outputs):
        (reduction, *_) = stage.op.body
        sums = isinstance(reduction.combiner.result[0], tirx.Add) and isinstance(reduction.source[0], tirx.Mul)
        if sums:
            sizes = [*stage.shape, *(axis.dom.extent for axis in stage.op.reduce_axis)]
            found += prod(nominal(size) for size in sizes)
    return found


def by_kernel(name: str, tag: str, precision: str) -> Counter[str]:
    """Multiply-adds of a model of the zoo, at the sizes that it is measured with."""
    shapes: dict[str, list[int | str]] = {spec.name: list(spec.pinned) for spec in zoo.recipe(name).inputs}
    graph, onto = import_model(zoo.fetch(name), shapes=shapes), target(tag)
    optimize(graph, preset(2, onto, precision))
    emitted = Emitter(graph, onto, fastest_by_estimate, lambda done, total: None, SizeRequirements()).emit()
    kernels = {choice.function: choice.kernel for choice in emitted.choices}
    found: Counter[str] = Counter()
    for call in emitted.calls:
        found[kernels[call.code.function.name_hint]] += macs(call.workload)
    return found


def main() -> None:
    """Exit code 1 where less than the bar is on tensor cores or matrix cores."""
    parser = argparse.ArgumentParser(prog="python -m tests.targets.matrix_share", description=__doc__)
    parser.add_argument("--target", default="cuda:sm_80", help="a GPU")
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("models", nargs="*", default=["resnet50", "bert-base"])
    arguments = parser.parse_args()
    failures = 0
    for name in arguments.models:
        found = by_kernel(name, arguments.target, arguments.precision)
        share = sum(found[kernel] for kernel in ON_MATRICES) / found.total()
        failures += share < BAR
        parts = ", ".join(f"{kernel} {count / found.total():.2%}" for kernel, count in found.most_common() if count)
        print(
            f"{name:<16} {arguments.target} {arguments.precision}: {found.total() / 1e9:.2f} G multiply-adds: {parts}"
        )
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
