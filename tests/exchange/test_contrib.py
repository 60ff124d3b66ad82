"""Operators of com.microsoft with an equal in ONNX, against ONNX Runtime's own kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from dsc.exchange import export_model, import_model
from tests.exchange.models import assert_close, model, node, run, value

RNG = np.random.default_rng(0)


def _w(**sizes: int) -> dict[str, np.ndarray]:
    return {name: RNG.standard_normal(size, np.float32) for name, size in sizes.items()}


def _call(op_type: str, inputs: list[str], outputs: list[str] | None = None, **attributes: Any) -> onnx.NodeProto:
    return node(op_type, inputs, outputs or ["y"], domain="com.microsoft", **attributes)


@pytest.mark.parametrize(
    ("op", "weights", "after"),
    [
        (_call("Gelu", ["x"]), {}, ["Gelu"]),
        (_call("BiasGelu", ["x", "b"]), _w(b=8), ["Add", "Gelu"]),
        (_call("FastGelu", ["x"]), {}, ["Gelu"]),
        (_call("FastGelu", ["x", "b"]), _w(b=8), ["Add", "Gelu"]),
        (_call("QuickGelu", ["x"], alpha=1.5), {}, ["CastLike", "Mul", "Sigmoid", "Mul"]),
        (
            _call("SkipLayerNormalization", ["x", "x", "g", "b", "c"], ["y", "", "", "s"], epsilon=1e-3),
            _w(g=8, b=8, c=8),
            ["Add", "Add", "Identity", "LayerNormalization"],
        ),
        (
            _call("SkipSimplifiedLayerNormalization", ["x", "x", "g"], epsilon=1e-5),
            _w(g=8),
            ["Add", "RMSNormalization"],
        ),
    ],
    ids=lambda case: case.op_type if isinstance(case, onnx.NodeProto) else "",
)
def test_numbers_stay(op: onnx.NodeProto, weights: dict[str, np.ndarray], after: list[str]) -> None:
    shape = [2, 3, 8]
    outputs = [value(name, shape) for name in op.output if name]
    proto = model([op], [value("x", shape)], outputs, weights, domains=["com.microsoft"])
    x = RNG.standard_normal(shape, np.float32)
    expected = run(proto, {"x": x})
    graph = import_model(proto)
    graph.verify()
    names = [o.name.removeprefix("onnx.") for o in graph.ops()]
    assert [n for n in names if n != "Constant"] == after
    # 1e-4: ONNX Runtime's FastGelu approximates tanh
    assert_close(run(export_model(graph), {"x": x}), expected, 1e-4)
