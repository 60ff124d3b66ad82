"""The inputs on which two models are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dsc.cli.feeds import read_inputs, read_samples
from dsc.cli.images import Pixels
from dsc.cli.source import Source
from dsc.errors import UsageError
from dsc.models import inputs as zoo_inputs

if TYPE_CHECKING:
    from dsc.check import Reference
    from dsc.ir import Graph
    from dsc.runtime.manifest import TensorSpec

Sample = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Wanted:
    """On what the two are compared."""

    files: Sequence[str]
    data: Sequence[Path]
    ranges: Mapping[str, tuple[float, float]]
    seeds: range

    def __post_init__(self) -> None:
        if self.files and self.data:
            raise UsageError("--input is one sample and --data another: choose one")
        if self.ranges and (self.files or self.data):
            raise UsageError("--range is of random inputs: not with --input or --data")


def find_inputs(
    source: Source, graph: Graph, specs: Sequence[TensorSpec], wanted: Wanted, reference: Reference
) -> tuple[list[Sample], str]:
    """The inputs given, else those of the recipe where the model's free dims allow them, else random ones.

    Also says which they are.
    """
    from dsc.check import usable_inputs

    if wanted.files:
        pixels = (source.recipe and source.recipe.preprocessing) or Pixels()
        return [read_inputs(wanted.files, specs, pixels)], ", ".join(wanted.files)
    if wanted.data:
        return list(read_samples(wanted.data, specs)), ", ".join(map(str, wanted.data))
    seeds = f"seeds {', '.join(map(str, wanted.seeds))}"
    if source.recipe is not None and not wanted.ranges:
        usual = zoo_inputs(source.recipe.name)
        if all(_fits(usual[spec.name].shape, spec.shape) for spec in specs):
            return [zoo_inputs(source.recipe.name, seed) for seed in wanted.seeds], f"the zoo's, {seeds}"
    found = usable_inputs(graph, reference, wanted.seeds, wanted.ranges)
    return list(found), f"random, {seeds}: {'; '.join(map(_described, found))}"


def _described(sample: Sample) -> str:
    return ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in sample.items())


def _fits(shape: tuple[int, ...], wanted: Sequence[int | str | None]) -> bool:
    return all(not isinstance(dim, int) or dim == size for size, dim in zip(shape, wanted, strict=True))
