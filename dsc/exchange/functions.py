"""Inline model-local functions, after making sure that this ends."""

from __future__ import annotations

import onnx
import onnx.inliner

from dsc.errors import UnsupportedModelError
from dsc.exchange.lenient import all_nodes

MAX_INLINED_NODES = 1_000_000
"""More nodes than this after inlining are taken for an attack: functions calling functions grow
exponentially.
"""

_Key = tuple[str, str]


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without functions of its own. Raises UnsupportedModelError for recursion and explosive
    growth.
    """
    if not model.functions:
        return model
    _check_growth(model)
    try:
        inlined: onnx.ModelProto = onnx.inliner.inline_local_functions(model, convert_version=True)
    except Exception as error:  # the C++ inliner raises RuntimeError and others for broken functions
        raise UnsupportedModelError(f"the model's functions cannot be inlined: {error}") from error
    return inlined


def _check_growth(model: onnx.ModelProto) -> None:
    bodies = {(f.domain, f.name): f for f in model.functions}
    calls = {key: [_key(n) for n in all_nodes(f.node)] for key, f in bodies.items()}
    sizes: dict[_Key, int] = {}
    for key in _callees_first(calls):
        sizes[key] = sum(sizes.get(callee, 1) for callee in calls[key])
        if sizes[key] > MAX_INLINED_NODES:
            raise UnsupportedModelError(
                f"function {key[1]!r} of domain {key[0]!r} is more than {MAX_INLINED_NODES} nodes when inlined"
            )
    total = sum(sizes.get(_key(n), 1) for n in all_nodes(model.graph.node))
    if total > MAX_INLINED_NODES:
        raise UnsupportedModelError(f"the model is {total} nodes when its functions are inlined; that is too many")


def _callees_first(calls: dict[_Key, list[_Key]]) -> list[_Key]:
    """The functions in an order in which each comes after those it calls. Iterative: chains may be long."""
    done: dict[_Key, None] = {}
    for root in calls:
        path: dict[_Key, None] = {}
        stack = [(root, False)]
        while stack:
            key, left = stack.pop()
            if left:
                del path[key]
                done[key] = None
            elif key in path:
                raise UnsupportedModelError(f"function {key[1]!r} of domain {key[0]!r} calls itself")
            elif key not in done:
                path[key] = None
                stack.append((key, True))
                stack += [(callee, False) for callee in dict.fromkeys(calls[key]) if callee in calls]
    return list(done)


def _key(node: onnx.NodeProto) -> _Key:
    return node.domain, node.op_type
