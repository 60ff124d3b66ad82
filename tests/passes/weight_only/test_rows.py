"""The pass quantize-rows: which products may round their activations, and which may not."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.errors import UsageError
from dsc.ir import FusionOp, Graph, multiplied_as
from dsc.lower.workload import Workload
from dsc.passes import PassRecord, Pipeline
from dsc.passes.weight_only import QuantizeRows
from tests.passes.net import Net, run

BEFORE = "canonicalize{keep-weights=true},weight-only,fuse"
RANDOM = np.random.default_rng(8)


def layers() -> Graph:
    """A product by bytes and a bias, and one by floats."""
    net = Net(x=("m", 32))
    (x,) = net.inputs()
    weight = RANDOM.integers(-128, 128, (32, 48)).astype(np.int8)
    scales = RANDOM.uniform(0.1, 1, 48).astype(np.float32)
    h = net.Add(net.MatMul(x, net.DequantizeLinear(weight, scales, axis=1)), net.random(48))
    return net.done(net.MatMul(net.Relu(h), net.random(48, 8)))


def after(graph: Graph, *passes: str) -> tuple[Graph, list[PassRecord]]:
    found = graph.clone()
    return found, Pipeline.parse(",".join((BEFORE, *passes))).run(found)


def regions(graph: Graph) -> list[FusionOp]:
    return [op for op in graph.ops() if isinstance(op, FusionOp)]


@pytest.mark.parametrize("element", ["int8", "int16"])
def test_products_by_weights_of_few_bits_are_marked(element: str) -> None:
    graph = layers()
    found, records = after(graph, f"quantize-rows{{type={element}}}")
    assert [multiplied_as(region) for region in regions(found)] == [element, None]
    assert records[-1].fired == {f"a @ dq(w, s) => {element}(a) @ dq(w, s)": 1}
    assert f"matmul multiplied as {element}" in Workload.of(regions(found)[0]).key()
    x = {"x": RANDOM.standard_normal((3, 32), np.float32)}
    np.testing.assert_allclose(run(found, x)[0], run(graph, x)[0], rtol=1e-4, atol=1e-4)  # a permission changes nothing


def test_without_such_weights_nothing_is() -> None:
    net = Net(x=("m", 32))
    found, records = after(net.done(net.MatMul(net.inputs()[0], net.random(32, 8))), "quantize-rows")
    assert [multiplied_as(region) for region in regions(found)] == [None]
    assert not records[-1].fired


def test_another_precision_is_for_the_other_products() -> None:
    net = Net(x=("m", 32))
    (x,) = net.inputs()
    weight = net.DequantizeLinear(RANDOM.integers(-128, 128, (32, 48)).astype(np.int8), np.float32(0.1))
    graph = net.done(net.MatMul(x, weight), net.MatMul(x, net.random(32, 8)))
    found, _ = after(graph, "quantize-rows{type=int8}", "precision{type=bfloat16 activations=packed}")
    assert [multiplied_as(region) for region in regions(found)] == ["int8", "bfloat16"]


def test_other_types_are_refused() -> None:
    with pytest.raises(UsageError, match="quantize-rows: type is one of int16, int8, not fp32"):
        QuantizeRows(type="fp32").run(layers())
