"""Many single nodes as one model, compiled once: with their operands as inputs, and as constants that are folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

import dsc
from dsc.lower.registry import RULES


@dataclass
class Node:
    """A node, its operands and what it is to give."""

    op_type: str
    operands: Sequence[np.ndarray | None]
    expected: Sequence[np.ndarray]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    rtol: float = 0.0
    """0: exactly (NaN equals NaN, and zeros of either sign are equal)."""


def model_of(
    nodes: Sequence[Node], opset: int, folded: bool = False, constant: Sequence[int] = ()
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The model and what to feed it.

    Initializers are the operands that lowerings read at compile time, those whose positions are in `constant`, and all
    if `folded`.
    """
    protos, inputs, constants, outputs = [], [], [], []
    feeds: dict[str, np.ndarray] = {}
    for number, node in enumerate(nodes):
        rule = RULES.get(f"onnx.{node.op_type}")
        names = ["" if a is None else f"n{number}_{k}" for k, a in enumerate(node.operands)]
        for k, (name, array) in enumerate(zip(names, node.operands, strict=True)):
            if array is None:
                continue
            if folded or k in constant or (rule is not None and k in rule.value_operands):
                constants.append(numpy_helper.from_array(np.asarray(array), name))
            else:
                inputs.append(_info(name, array))
                feeds[name] = array
        made = [f"y{number}_{k}" for k in range(len(node.expected))]
        protos.append(helper.make_node(node.op_type, names, made, **node.attributes))
        outputs += [_info(name, array) for name, array in zip(made, node.expected, strict=True)]
    graph = helper.make_graph(protos, "nodes", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), feeds


def _info(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def wrong(nodes: Sequence[Node], opset: int = 22, folded: bool = False, constant: Sequence[int] = ()) -> dict[str, str]:
    """What is not as expected, by node."""
    model, feeds = model_of(nodes, opset, folded, constant)
    results = dsc.compile(model, threads=1).run(feeds)
    found = {}
    for number, node in enumerate(nodes):
        for k, expected in enumerate(node.expected):
            try:
                result = results[f"y{number}_{k}"]
                assert result.dtype == expected.dtype, f"{result.dtype} for {expected.dtype}"
                np.testing.assert_allclose(result, expected, rtol=node.rtol, atol=node.rtol)
            except AssertionError as error:
                label = f"{number}: {node.op_type} {dict(node.attributes)} of {[_brief(a) for a in node.operands]}"
                found[label] = " ".join(str(error).split())
    return found


def _brief(array: np.ndarray | None) -> str:
    return "absent" if array is None else f"{array.dtype}{list(array.shape)} {array.reshape(-1)[:4]}"


WAYS = [{"folded": False}, {"folded": True}]
"""As run, as folded at compile time: both give the same."""
