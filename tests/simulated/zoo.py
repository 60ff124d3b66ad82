"""Models of the zoo, whole, on a simulated GPU, against ONNX Runtime."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

import dsc.models as zoo
from dsc.check.reference import Reference
from dsc.check.simulated import simulated
from dsc.pipeline import compile_model
from dsc.precision import ERRORS, PRECISIONS
from dsc.targets import AnyTarget
from tests.ten_models import CLASSIFIERS

BARS = {name: 1e-4 if element is None else ERRORS[element] for name, element in PRECISIONS.items()}
"""Largest difference by precision, relative to the largest number of the output: in float32 that of sums in another
order."""
LAUNCHES = 1.2
"""Launches for each region, at most."""


@dataclass(frozen=True)
class Outcome:
    """What a model did on the simulated device."""

    bar: float
    """Of the precision."""
    error: float
    """The largest difference of all outputs, each relative to its largest number."""
    same_top: bool | None
    """Whether a classifier finds the same classes; None for others."""
    regions: int
    launches: int
    coalescing: float | None
    """Of all kernels together, if that was watched."""
    kernels: Counter[str]
    """How many regions each kernel of dsc computes."""
    compiling: float
    running: float
    """Seconds."""

    @property
    def passed(self) -> bool:
        """Whether it is near enough, in few enough launches."""
        near = self.error <= self.bar and self.same_top is not False
        return near and self.launches <= LAUNCHES * self.regions


def outcome(name: str, target: AnyTarget, precision: str = "fp32", *, checks: bool) -> Outcome:
    """Compile and run a model at the sizes that it is measured with; `checks` watches every access to memory."""
    path, feeds = zoo.fetch(name), zoo.inputs(name)
    shapes: dict[str, list[int | str]] = {spec.name: list(spec.pinned) for spec in zoo.recipe(name).inputs}
    calls: Counter[str] = Counter()

    def called(function: str, before: bool, _: object) -> None:
        calls[function] += before

    with simulated(target, checks=checks) as (onto, simulation):
        began = time.monotonic()
        model = compile_model(path, target=onto, shapes=shapes, precision=precision).model
        compiled = time.monotonic()
        found = model.load(1).watch(feeds, called)
        ran = time.monotonic()
        counters = simulation.counters().values()
    expected = Reference(path).run(feeds)
    error, same_top = 0.0, True if name in CLASSIFIERS else None
    for output, wanted in expected.items():
        error = max(error, float(np.abs(found[output] - wanted).max() / np.abs(wanted).max()))
        if name in CLASSIFIERS:
            same_top = same_top and bool((found[output].argmax(-1) == wanted.argmax(-1)).all())
    sectors = sum(c.global_sectors for c in counters)
    kernels = {choice.function: choice.kernel for choice in model.choices}
    return Outcome(
        BARS[precision],
        error,
        same_top,
        sum(calls[function] for function in kernels),
        sum(c.launches for c in counters),
        sum(c.global_sectors_ideal for c in counters) / sectors if sectors else None,
        Counter(kernel for function, kernel in kernels.items() for _ in range(calls[function])),
        compiled - began,
        ran - compiled,
    )
