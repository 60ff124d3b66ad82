"""Models of the zoo, whole, from bundles, against ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import dsc.models as zoo
from dsc.check.reference import Reference
from dsc.pipeline import compile_model
from dsc.targets import AnyTarget
from tests.bundle.bundles import bundle
from tests.ten_models import CLASSIFIERS

BAR = 1e-4
"""Largest difference, relative to the largest number of the output: single precision, sums in another order."""


@dataclass(frozen=True)
class Outcome:
    """What a model's outputs are like beside ONNX Runtime's."""

    error: float
    """The largest difference of all outputs, each relative to its largest number."""
    same_top: bool | None
    """Whether a classifier finds the same classes; None for others."""

    @property
    def passed(self) -> bool:
        """Whether it is near enough."""
        return self.error <= BAR and self.same_top is not False


def outcome(name: str, target: AnyTarget, folder: Path, launcher: tuple[str, ...]) -> Outcome:
    """Compile, bundle and run a model at the sizes that it is measured with."""
    path, feeds = zoo.fetch(name), zoo.inputs(name)
    artifact = folder / f"{name}.dsc"
    shapes: dict[str, list[int | str]] = {spec.name: list(spec.pinned) for spec in zoo.recipe(name).inputs}
    compile_model(path, target=target, shapes=shapes).model.write(artifact)
    found = bundle(artifact, folder / name, launcher).run(feeds, folder)
    expected = Reference(path).run(feeds)
    error, same_top = 0.0, True if name in CLASSIFIERS else None
    for array, wanted in zip(found, expected.values(), strict=True):
        assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape)
        error = max(error, float(np.abs(array - wanted).max() / np.abs(wanted).max()))
        if name in CLASSIFIERS:
            same_top = same_top and bool((array.argmax(-1) == wanted.argmax(-1)).all())
    return Outcome(error, same_top)
