"""What a kernel is given besides activations: scales and zero points as tensors, weights with what their types say."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects.builtin import TensorType, f32

from dsc.codegen import build
from dsc.ir import Graph, SparseAttr, WeightOp, onnx, tensor
from dsc.sparsity import Pattern
from dsc.targets import target
from tests.compiled import Arrays, TextModel, check

RNG = np.random.default_rng(0)
LAYERS = """(float[n,64] x) => (float[n,64] y) {
    a = QuantizeLinear(x, s, z)
    b = DequantizeLinear(a, s, z)
    c = Mul(b, b)
    d = QuantizeLinear(c, t, v)
    y = DequantizeLinear(d, t, v)
}"""
PRODUCTS = """(uint8[n,64] x) => (uint8[n,64] y) {
    a = QLinearMatMul(x, s, z, w, t, v, p, q)
    y = QLinearMatMul(a, p, q, u, s, v, t, z)
}"""


def numbers(**given: float) -> Arrays:
    """Scales as float32, zero points (whole numbers) as uint8."""
    return {n: np.float32(v) if isinstance(v, float) else np.uint8(v) for n, v in given.items()}  # type: ignore[misc]


@pytest.mark.parametrize("opt_level", [0, 2])
@pytest.mark.parametrize(
    ("text", "weights", "dtype", "kernels", "fused"),
    [
        (
            LAYERS,
            numbers(s=0.03, z=128, t=0.07, v=3),
            np.float32,
            ["QuantizeLinear", "DequantizeLinear", "Mul"],
            ["elementwise"],
        ),
        (
            PRODUCTS,
            {
                **numbers(s=0.02, z=120, t=0.01, v=7, p=0.3, q=99),
                **{name: RNG.integers(0, 134, (64, 64)).astype(np.uint8) for name in "wu"},
            },
            np.uint8,
            ["QLinearMatMul"],
            ["matmul"],
        ),
    ],
    ids=["layers", "products"],
)
def test_ops_of_different_scales_share_a_kernel(
    text: str, weights: Arrays, dtype: type, kernels: list[str], fused: list[str], opt_level: int
) -> None:
    model, middle = TextModel(text, weights), 128 if dtype is np.uint8 else 0
    feeds = [{"x": (RNG.standard_normal((n, 64)) * 2 + middle).astype(dtype)} for n in (1, 9)]
    compiled = check(model, *feeds, opt_level=opt_level, tolerance=0)
    found = [choice["kind"] for choice in compiled.model.manifest.kernels]
    assert sorted(kind.removeprefix("onnx.") for kind in found) == sorted(fused if opt_level else kernels)


def test_a_weight_with_a_sparsity_pattern_is_computed_with_as_any_other() -> None:
    graph = Graph.build([("x", tensor("float32", (-1, 24), ["n", ""]))])
    data = RNG.standard_normal((24, 16)).astype(np.float32)
    data[::2] = 0
    weight = WeightOp(
        graph.weights.add(data, "w"), TensorType(f32, (24, 16), SparseAttr.of(Pattern.parse("2:4"), 1, 0.5))
    )
    matmul = onnx.MatMul.make(graph.inputs[0], weight.out)
    graph.body.add_ops([weight, matmul])
    graph.set_outputs([("y", matmul.out)])
    model = build(graph, target("x86"))
    x = RNG.standard_normal((5, 24)).astype(np.float32)
    np.testing.assert_allclose(model.load(threads=1).run({"x": x})["y"], x @ data, rtol=1e-5, atol=1e-5)
    assert '#dsc.sparse<"2:4", axis = 1, kept = 128>' in model.manifest.kernels[0]["workload"]
