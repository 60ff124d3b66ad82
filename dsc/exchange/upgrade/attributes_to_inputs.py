"""Operators whose attributes became inputs."""

from __future__ import annotations

import numpy as np

from dsc.exchange.upgrade.edit import Edit, upgrade

_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
    "ReduceProd", "ReduceSumSquare",
)  # fmt: skip


@upgrade("Clip", to=11)
def _clip(edit: Edit) -> None:
    """Without bounds the largest finite numbers were the bounds, so that infinities are cut; now there are none."""
    largest = np.finfo(np.float32).max
    for index, bound in ((1, edit.pop("min", -largest)), (2, edit.pop("max", largest))):
        edit.set_input(index, edit.emit("CastLike", [edit.constant(np.float32(bound)), edit.node.input[0]]))


@upgrade("Pad", to=11)
def _pad(edit: Edit) -> None:
    edit.set_input(1, edit.int64s(edit.pop("pads")))
    value = edit.pop("value", 0.0)
    if value:
        edit.set_input(2, edit.emit("CastLike", [edit.constant(np.float32(value)), edit.node.input[0]]))


@upgrade("Slice", to=10)
def _slice(edit: Edit) -> None:
    starts, ends, axes = edit.pop("starts"), edit.pop("ends"), edit.pop("axes")
    edit.set_input(1, edit.int64s(starts))
    edit.set_input(2, edit.int64s(ends))
    if axes is not None:
        edit.set_input(3, edit.int64s(axes))


@upgrade(*_REDUCTIONS, to=18)
@upgrade("ReduceSum", "Squeeze", "Unsqueeze", to=13)
def _axes(edit: Edit) -> None:
    axes = edit.pop("axes")
    if axes:
        edit.set_input(1, edit.int64s(axes))


@upgrade("Split", to=13)
def _split(edit: Edit) -> None:
    split = edit.pop("split")
    if split:
        edit.set_input(1, edit.int64s(split))


@upgrade("Split", to=18)
def _split_count(edit: Edit) -> None:
    if len(edit.node.input) < 2 or not edit.node.input[1]:
        edit.put("num_outputs", len(edit.node.output))


@upgrade("TopK", to=10)
def _topk(edit: Edit) -> None:
    edit.set_input(1, edit.int64s([edit.pop("k")]))


@upgrade("Dropout", to=12)
def _dropout(edit: Edit) -> None:
    edit.pop("ratio")  # has no effect at inference


@upgrade("DFT", to=20)
def _dft(edit: Edit) -> None:
    edit.set_input(2, edit.int64s(edit.pop("axis", 1)))
