"""How far a precision alone moves a model: what to say where its outputs are further off than the precision allows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dsc.check.stability import Stability, Tell
from dsc.errors import DscError
from dsc.ir import Graph

_RUNS = 6
_UNITS = {"float16": 2.0**-11, "tfloat32": 2.0**-11, "bfloat16": 2.0**-8}
"""By element type the largest error of one rounding to it, relative to the number."""


def moved_by(
    graph: Graph, element: str, inputs: Mapping[str, np.ndarray], threads: int | None, progress: Tell
) -> dict[str, float]:
    """By output that is a float: how far ONNX Runtime's own moves, relative to its largest number.

    graph: the model, imported. Each result within it is off by one rounding to `element`, at random; the largest of
    some runs. Raises DscError where ONNX Runtime does not take that.
    """
    movements = Stability(graph, threads, _UNITS[element]).movements(inputs, _RUNS, progress)
    largest = {name: float(np.abs(movement.still).max(initial=0.0)) for name, movement in movements.items()}
    return {name: movement.largest / largest[name] for name, movement in movements.items() if largest[name] > 0}


def notes(
    graph: Graph, element: str, inputs: Mapping[str, np.ndarray], threads: int | None, progress: Tell
) -> tuple[str, ...]:
    """The same, in words."""
    try:
        moved = moved_by(graph, element, inputs, threads, progress)
    except DscError as error:
        return (f"how far rounding to {element} moves the outputs is not known: {error}",)
    return tuple(
        f"results that are rounded to {element} move {name} by {share:.2g} of its largest number in ONNX Runtime itself"
        for name, share in moved.items()
    )
