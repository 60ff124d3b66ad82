"""Random inputs that a model can be run on: right shapes and dtypes, integers in range."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from xdsl.ir import SSAValue

from dsc.errors import UsageError
from dsc.ir import DYNAMIC, FusionOp, Graph, OnnxOp, dims_of, element_of, onnx

_SAME_VALUES = (
    onnx.Cast,
    onnx.Reshape,
    onnx.Unsqueeze,
    onnx.Squeeze,
    onnx.Flatten,
    onnx.Transpose,
    onnx.Identity,
)
_BATCH, _PIXELS, _LENGTH = 2, 224, 32


def random_inputs(graph: Graph, seed: int = 0, sizes: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
    """Inputs by name for an imported model, the same for the same seed.

    Floats are normal; integers are below the size of the table they index, or 0 and 1 where they index none
    (masks); free dims are as `sizes` says by their names, else 2 for the first dim, 224 for images' sides
    and 32 for others. Raises UsageError for inputs that are not tensors of numbers.
    """
    random, known = np.random.default_rng(seed), dict(sizes or {})
    return {
        name: _sample(name, value, random, known) for name, value in zip(graph.input_names, graph.inputs, strict=True)
    }


def _sample(name: str, value: SSAValue, random: np.random.Generator, sizes: dict[str, int]) -> np.ndarray:
    shape = _shape(name, value, sizes)
    dtype = element_of(value.type).dtype
    if dtype.kind == "b":
        return random.integers(0, 2, shape).astype(np.bool_)
    if dtype.kind in "iu":
        return random.integers(0, _bound(value) or 2, shape).astype(dtype)
    return random.standard_normal(shape).astype(dtype)


def _shape(name: str, value: SSAValue, sizes: dict[str, int]) -> tuple[int, ...]:
    dims = dims_of(value.type)
    if dims is None:
        raise UsageError(f"input {name!r} may have any number of dims: give its shape, e.g. --shape {name}:1x3x224x224")
    shape = []
    for axis, dim in enumerate(dims):
        if isinstance(dim, int) and dim != DYNAMIC:
            shape.append(dim)
            continue
        usual = _BATCH if axis == 0 else _PIXELS if len(dims) == 4 else _LENGTH
        shape.append(sizes.setdefault(dim, usual) if isinstance(dim, str) else usual)
    return tuple(shape)


def _bound(value: SSAValue) -> int | None:
    """The rows of the smallest table that the integers of `value` index; None if they index none."""
    bounds: list[int | None] = []
    for use in value.uses:
        op = use.operation
        if isinstance(op, onnx.Gather | onnx.GatherElements) and op.operands[1] is value:
            dims = dims_of(op.operands[0].type)
            rows = dims[op.attr("axis", 0)] if dims is not None else None
            if isinstance(rows, int) and rows > 0:
                bounds.append(rows)
        elif isinstance(op, FusionOp):
            bounds.append(_bound(op.block.args[use.index]))
        elif isinstance(op, OnnxOp) and isinstance(op, _SAME_VALUES) and op.operands[0] is value:
            bounds.append(_bound(op.results[0]))
    return min((bound for bound in bounds if bound is not None), default=None)
