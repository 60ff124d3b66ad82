"""The Attention operator as exporters write it for decoders: batch, sequence and past of any length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import dsc

SIZES = {"b": 2, "s": 5, "t": 7, "p": 3, "u": 8, "x": 1}
OPERANDS = ("q", "k", "v", "mask", "past_key", "past_value")
Shapes = Mapping[str, Sequence[int | str]]

HEADS: Shapes = {"q": ["b", 4, "s", 8], "k": ["b", 4, "t", 8], "v": ["b", 4, "t", 8]}
GROUPED: Shapes = {"q": ["b", 4, "s", 8], "k": ["b", 2, "s", 8], "v": ["b", 2, "s", 8]}
PAST: Shapes = {**GROUPED, "past_key": ["b", 2, "p", 8], "past_value": ["b", 2, "p", 8]}
FLAT: Shapes = {"q": ["b", "s", 32], "k": ["b", "t", 16], "v": ["b", "t", 16]}


@pytest.mark.parametrize(("opset", "level"), [(23, 2), (24, 0)])
@pytest.mark.parametrize(
    ("shapes", "attributes"),
    [
        (HEADS, {}),
        ({**HEADS, "mask": ["b", 1, "s", "t"]}, {}),
        ({**HEADS, "mask": ["s", "t"]}, {}),
        ({**FLAT, "mask": ["b", 1, "s", "t"]}, {"q_num_heads": 4, "kv_num_heads": 2}),
        (PAST, {"is_causal": 1}),
        ({**PAST, "mask": ["b", 1, "s", "u"]}, {}),
        ({**PAST, "mask": ["b", "x", "s", "u"]}, {"scale": 0.3}),
    ],
)
def test_equals_the_specification(shapes: Shapes, attributes: dict[str, int], opset: int, level: int) -> None:
    outputs = ["y", "key", "value"] if "past_key" in shapes else ["y"]
    operands = [name if name in shapes else "" for name in OPERANDS]
    while not operands[-1]:
        operands.pop()
    node = helper.make_node("Attention", operands, outputs, **attributes)
    ranks = [len(shapes["q"]), 4, 4]
    graph = helper.make_graph(
        [node],
        "attention",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in shapes.items()],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank)
            for name, rank in zip(outputs, ranks, strict=False)
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    random = np.random.default_rng(2)
    feeds = {
        name: random.standard_normal([SIZES.get(str(d), d) for d in dims]).astype(np.float32)
        for name, dims in shapes.items()
    }
    expected = ReferenceEvaluator(model).run(None, feeds)
    found = dsc.compile(model, opt_level=level).run(feeds)
    for name, right in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(found[name], right, rtol=1e-5, atol=1e-5)
