"""quantize_weights: the model it writes, on ONNX Runtime and here, and what it says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from dsc.errors import UsageError
from dsc.pipeline import compile_model
from dsc.quantize.weights import quantize_weights
from tests.exchange.models import node, run, value

RANDOM = np.random.default_rng(9)
ROWS, WIDTH, INNER, OUTPUTS = 30, 48, 70, 36


@pytest.fixture(scope="module")
def net() -> onnx.ModelProto:
    """A table, a MatMul, a Gemm with a transposed weight; of opset 17, which has no integers of 4 bits."""
    weights = {
        "table": RANDOM.standard_normal((ROWS, WIDTH)), "w": RANDOM.standard_t(3, (WIDTH, INNER)),
        "v": RANDOM.standard_normal((OUTPUTS, INNER)), "c": RANDOM.standard_normal(OUTPUTS),
    }  # fmt: skip
    nodes = [
        node("Gather", ["table", "i"], ["x"], name="embed"),
        node("MatMul", ["x", "w"], ["h"], name="first"),
        node("Relu", ["h"], ["r"]),
        node("Gemm", ["r", "v", "c"], ["y"], name="second", transB=1),
    ]
    initializers = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "net", [value("i", ["n"], np.int64)], [value("y", ["n", OUTPUTS])], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def samples(count: int) -> Iterator[dict[str, np.ndarray]]:
    random = np.random.default_rng(10)
    return ({"i": random.integers(0, ROWS, 12)} for _ in range(count))


def off(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


FEEDS = {"i": RANDOM.integers(0, ROWS, 9)}


@pytest.mark.parametrize(("bits", "symmetric"), [(4, True), (4, False), (8, True), (8, False)])
@pytest.mark.parametrize("method", ["nearest", "hqq", "gptq"])
def test_both_forms_are_one_model(net: onnx.ModelProto, method: str, bits: int, symmetric: bool) -> None:
    """On ONNX Runtime, with the error of integers of so many bits."""
    expected, found = run(net, FEEDS)[0], {}
    for form in ("onnx", "contrib"):
        made = quantize_weights(
            net, bits=bits, group=16, method=method, data=samples(6), symmetric=symmetric, form=form
        )
        onnx.checker.check_model(made.model)
        found[form] = run(made.model, FEEDS)[0]
        domains = {each.domain for each in made.model.graph.node}
        assert domains == ({""} if form == "onnx" else {"", "com.microsoft"})
    np.testing.assert_allclose(found["contrib"], found["onnx"], rtol=1e-4, atol=1e-4)
    assert 1e-3 < off(found["onnx"], expected) * (1 if bits == 4 else 16) < 0.3


def test_compiled_and_small(net: onnx.ModelProto) -> None:
    made = quantize_weights(net, bits=4, group=32, method="nearest")
    compilation = compile_model(made.model, shapes={"i": [9]})
    np.testing.assert_allclose(
        compilation.model.load(1).run(FEEDS)["y"], run(made.model, FEEDS)[0], rtol=1e-4, atol=1e-4
    )
    before = 4 * (ROWS * WIDTH + WIDTH * INNER + OUTPUTS * INNER)
    after = sum(weight.size for weight in compilation.model.weights)
    assert after < 0.25 * before  # padded panels of such small matrices; half a byte each would be 0.16
    assert compilation.graph.text().count("onnx.DequantizeLinear") == 3


def test_errors_are_those_of_the_layers(net: onnx.ModelProto) -> None:
    """Of outputs where there is data: as the layer itself gives them on it."""
    by_weight = {layer.name: layer for layer in quantize_weights(net, group=16, method="hqq").layers}
    made = quantize_weights(net, group=16, method="hqq", data=samples(6))
    by_output = {layer.name: layer for layer in made.layers}
    assert set(by_weight) == set(by_output) == {"embed", "first", "second"}
    assert [layer.error for layer in made.layers] == sorted((e.error for e in made.layers), reverse=True)
    assert not any(layer.of_outputs for layer in by_weight.values())
    assert {name for name, layer in by_output.items() if layer.of_outputs} == {"first", "second"}
    assert by_output["first"].shape == (WIDTH, INNER)
    floats = {t.name: numpy_helper.to_array(t) for t in net.graph.initializer}
    x = np.concatenate([floats["table"][sample["i"]] for sample in samples(6)]).astype(np.float64)
    tensors = {t.name: numpy_helper.to_array(t) for t in made.model.graph.initializer}
    integers, scales, zeros = (
        tensors[f"w.{part}"].astype(np.float64) for part in ("integers", "scales", "zero_points")
    )
    group = np.arange(WIDTH) // 16
    rounded = (integers - zeros[group]) * scales[group]
    assert by_output["first"].error == pytest.approx(off(x @ rounded, x @ floats["w"]), rel=1e-4)


def test_layers_that_are_kept(net: onnx.ModelProto) -> None:
    made = quantize_weights(net, method="nearest", keep=["first", "embed"])
    assert [layer.name for layer in made.layers] == ["second"]
    kept = {tensor.name for tensor in made.model.graph.initializer}
    assert {"w", "table"} <= kept


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 3}, "weights of 3 bits are not supported: 4 and 8 are"),
        ({"group": 12}, "groups of 12 are not supported: a multiple of 8, or 0 for the whole depth"),
        ({"group": 24, "form": "contrib"}, "groups of 24 have no form in com.microsoft"),
        ({"method": "best"}, "there is no method 'best': there are nearest, hqq, gptq"),
        ({"form": "qdq"}, "there is no form 'qdq': there are onnx, contrib"),
        ({"method": "gptq"}, "gptq needs calibration data"),
        ({"method": "gptq", "data": []}, "the calibration data has no samples"),
        ({"keep": ["frist"]}, "no layer with a weight is named 'frist'; there are first"),
        ({"keep": ["embed", "first", "second"]}, "the model has no MatMul, Gemm or Gather of a constant"),
    ],
)
def test_refusals(net: onnx.ModelProto, options: dict, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        quantize_weights(net, **options)
    assert message in str(refused.value)


def test_weights_and_data_that_are_no_numbers(net: onnx.ModelProto) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(net)
    (tensor,) = (t for t in broken.graph.initializer if t.name == "w")
    array = numpy_helper.to_array(tensor).copy()
    array[3, 4] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(array, "w"))
    with pytest.raises(UsageError, match="the weight of first is infinite or NaN somewhere"):
        quantize_weights(broken)
    with pytest.raises(UsageError, match="sample 1 gives second inputs that are infinite or NaN"):
        quantize_weights(broken, method="gptq", data=samples(1))
