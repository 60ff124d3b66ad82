"""What each kernel of a model makes of the memory that it asks for, on a simulated GPU."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

import dsc.models as zoo
from dsc.check.simulated import simulated
from dsc.codegen.selection import Choice
from dsc.pipeline import compile_model
from dsc.simulator import Counters
from dsc.targets import AnyTarget
from tests.pruned import model

_LAUNCH = re.compile(r"_kernel(?:_\d+)?$")
"""What TVM appends to the name of a function for each of its launches."""


@dataclass(frozen=True)
class Fetched:
    """Of one function of a model, in all its calls."""

    choice: Choice
    sectors: int
    """Pieces of memory that were moved."""
    ideal: int
    """If what each instruction of a warp asks for lay side by side."""

    @property
    def share(self) -> float:
        """Of the ideal."""
        return self.ideal / self.sectors

    @property
    def wasted(self) -> int:
        """Sectors that an ideal layout would not have moved."""
        return self.sectors - self.ideal


def survey(
    name: str, target: AnyTarget, precision: str, sizes: Sequence[int] | None, pattern: str | None
) -> list[Fetched]:
    """Every function of a model of the zoo that read or wrote memory, those that waste most first.

    sizes: of images, in place of those that the zoo measures with. pattern: to which weights are pruned.
    """
    shapes = {spec.name: _shape(spec, sizes) for spec in zoo.recipe(name).inputs}
    feeds = {key: _resized(value, shapes[key]) for key, value in zoo.inputs(name).items()}
    with simulated(target) as (onto, simulation):
        free: dict[str, list[int | str]] = {key: list(shape) for key, shape in shapes.items()}
        compiled = compile_model(model(name, pattern), target=onto, shapes=free, precision=precision).model
        compiled.load(1).run(feeds)
        return fetched(compiled.choices, simulation.counters())


def fetched(choices: Sequence[Choice], counters: Mapping[str, Counters]) -> list[Fetched]:
    """What `counters` tell of each function that was chosen."""
    launches: dict[str, list[Counters]] = defaultdict(list)
    for kernel, counted in counters.items():
        launches[_LAUNCH.sub("", kernel)].append(counted)
    found = [
        Fetched(choice, sum(c.global_sectors for c in own), sum(c.global_sectors_ideal for c in own))
        for choice in choices
        if (own := launches[choice.function])
    ]
    return sorted((each for each in found if each.sectors), key=lambda each: -each.wasted)


def _shape(spec: zoo.InputSpec, sizes: Sequence[int] | None) -> tuple[int, ...]:
    """An image of that height and width where both are free; other inputs, and without sizes, what is measured."""
    are_free = len(spec.shape) == 4 and not any(isinstance(size, int) for size in spec.shape[2:])
    return (*spec.pinned[:2], *sizes) if sizes and are_free else tuple(spec.pinned)


def _resized(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The first part of an input, or it again and again."""
    return np.ascontiguousarray(np.resize(value, shape))
