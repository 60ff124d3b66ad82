"""dsc.pack and dsc.unpack as the Reshape and Transpose nodes that they stand for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from dsc.ir import DYNAMIC, PackOp, UnpackOp, shape_of

Fresh = Callable[[str], str]


def layout_nodes(op: PackOp | UnpackOp, source: str, result: str, fresh: Fresh) -> list[onnx.NodeProto]:
    """Nodes that compute `result` from `source`. fresh: makes names.

    Pack, with axis 1: [N, C, H, W] -> Reshape [N, C/b, b, H, W] -> Transpose [N, C/b, H, W, b]. Unpack goes
    back.
    """
    plain = shape_of(op.out.type if isinstance(op, UnpackOp) else op.source.type)
    assert plain is not None
    rank, axis = len(plain), op.axis_index
    inner, middle = fresh(result), list(range(axis + 2, rank + 1))
    if isinstance(op, PackOp):
        split = (plain[axis] // op.block_size, op.block_size)
        shape = _target(plain, axis, split, source, rank, fresh)
        forward = [*range(axis + 1), *middle, axis + 1]
        return [*shape.nodes, _reshape(source, shape.name, inner), _transpose(inner, forward, result)]
    backward = [*range(axis + 1), rank, *range(axis + 1, rank)]
    shape = _target(plain, axis, (plain[axis],), source, rank, fresh)
    return [_transpose(source, backward, inner), *shape.nodes, _reshape(inner, shape.name, result)]


class _Shape:
    def __init__(self, name: str, nodes: list[onnx.NodeProto]) -> None:
        self.name, self.nodes = name, nodes


def _target(
    plain: tuple[int, ...], axis: int, channels: tuple[int, ...], source: str, rank: int, fresh: Fresh
) -> _Shape:
    """The shape to Reshape to: dims before `axis` are copied (0), those after it are read at run time if they
    are dynamic.
    """
    head, tail = [0] * axis + list(channels), list(plain[axis + 1 :])
    if tail.count(DYNAMIC) <= 1:
        name, node = _constant(head + [-1 if d == DYNAMIC else d for d in tail], fresh)
        return _Shape(name, [node])
    first, head_node = _constant(head, fresh)
    last, name = fresh("tail"), fresh("shape")
    nodes = [
        head_node,
        onnx.helper.make_node("Shape", [source], [last], start=axis + 1, end=rank),
        onnx.helper.make_node("Concat", [first, last], [name], axis=0),
    ]
    return _Shape(name, nodes)


def _constant(values: list[int], fresh: Fresh) -> tuple[str, onnx.NodeProto]:
    name = fresh("shape")
    value = onnx.numpy_helper.from_array(np.array(values, np.int64))
    return name, onnx.helper.make_node("Constant", [], [name], value=value)


def _reshape(source: str, shape: str, result: str) -> onnx.NodeProto:
    return onnx.helper.make_node("Reshape", [source, shape], [result])


def _transpose(source: str, perm: list[int], result: str) -> onnx.NodeProto:
    return onnx.helper.make_node("Transpose", [source], [result], perm=perm)
