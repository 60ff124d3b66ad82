"""Operators that look for elements of an image: there are some."""

from __future__ import annotations

from collections.abc import Iterator

from dsc.ir import onnx
from dsc.lower.exprs import minimum
from dsc.lower.registry import Call
from dsc.lower.requirements.requirement import Requirement, at_least, at_most, equal, requires, shape_of
from dsc.lower.resampling import plans


@requires(onnx.Resize)
def resize(call: Call) -> Iterator[Requirement]:
    """Nothing becomes something."""
    for plan in plans(call, shape_of(call.inputs[0])):
        yield at_least(plan.target, 0, f"dim {plan.axis} of its result")
        yield at_most(minimum(plan.target, 1), plan.source, f"the elements made of dim {plan.axis}")


@requires(onnx.GridSample)
def grid_sample(call: Call) -> Iterator[Requirement]:
    """A grid for each image, with a coordinate for each of its axes."""
    x, grid = (shape_of(t) for t in call.inputs)
    yield equal(grid[0], x[0], "the batches of X and of the grid")
    yield equal(grid[-1], len(x) - 2, "the last dim of the grid and the number of axes of an image")
    for axis, size in enumerate(x[2:], 2):
        yield at_least(size, 1, f"dim {axis} of X")


@requires(onnx.RoiAlign)
def roi_align(call: Call) -> Iterator[Requirement]:
    """A region has four coordinates and belongs to an image."""
    x, rois, batches = (shape_of(t) for t in call.inputs)
    yield equal(rois[1], 4, "the coordinates of a region and 4")
    yield equal(batches[0], rois[0], "the batch indices and the regions")
    for axis, size in enumerate(x[2:], 2):
        yield at_least(size, 1, f"dim {axis} of X")
