"""Models on which right and wrong are hard to tell: quantized, half precision, discontinuous, tiny."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import pytest
from onnx import TensorProto
from tvm import te, tirx

import dsc
from dsc.check import Reference, Report, examine, find_culprit, random_inputs, verify
from dsc.check.compare import compare
from dsc.exchange import import_model
from dsc.lower.registry import RULES, Call

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
make = onnx.helper.make_node


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, Sequence[int | str]]],
    outputs: Mapping[str, tuple[int, Sequence[int | str]]],
    weights: Mapping[str, np.ndarray] | None = None,
    opset: int = 21,
) -> onnx.ModelProto:
    """A model of nodes; inputs and outputs by name as (element type, dims)."""
    made = [onnx.numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    given, wanted = (
        [onnx.helper.make_tensor_value_info(name, code, dims) for name, (code, dims) in named.items()]
        for named in (inputs, outputs)
    )
    graph = onnx.helper.make_graph(nodes, "model", given, wanted, made)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)


class Changed:
    """A module that computes what another model does, or what a function makes of the right outputs."""

    def __init__(self, right: onnx.ModelProto, **change: object) -> None:
        self.reference, self.change = Reference(right), change

    def run(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        outputs = self.reference.run(inputs)
        return {name: self.change[name](array) if name in self.change else array for name, array in outputs.items()}


def report_of(right: onnx.ModelProto, module: object, seeds: int = 2) -> Report:
    graph = import_model(right)
    return verify(right, module, [random_inputs(graph, seed) for seed in range(seeds)], graph=graph)


def qdq() -> onnx.ModelProto:
    """Two products between QuantizeLinear and DequantizeLinear, whose scales are powers of two: ties everywhere."""
    random = np.random.default_rng(2)
    scales = {f"s{i}": np.float32(2.0**-e) for i, e in enumerate((4, 5, 3))}
    zeros = {"z": np.uint8(128)}
    weights = {f"w{i}": (random.integers(-64, 64, (32, 32)) / 256).astype(np.float32) for i in range(2)}
    nodes, value = [], "x"
    for i in range(3):
        nodes.append(make("QuantizeLinear", [value, f"s{i}", "z"], [f"q{i}"]))
        nodes.append(make("DequantizeLinear", [f"q{i}", f"s{i}", "z"], [f"d{i}"]))
        value = f"d{i}"
        if i < 2:
            nodes += [make("MatMul", [f"d{i}", f"w{i}"], [f"m{i}"]), make("Tanh", [f"m{i}"], [f"a{i}"])]
            value = f"a{i}"
    arrays = {**weights, **{n: np.array(a) for n, a in {**scales, **zeros}.items()}}
    outputs = {"q2": (TensorProto.UINT8, [16, 32]), "d2": (FLOAT, [16, 32])}
    return model(nodes, {"x": (FLOAT, [16, 32])}, outputs, arrays)


def test_a_quantized_network() -> None:
    right = qdq()
    assert report_of(right, dsc.compile(right, threads=1)).passed
    step = np.float32(2.0**-3)
    assert not report_of(right, Changed(right, q2=lambda q: q + np.uint8(1))).passed
    assert not report_of(right, Changed(right, d2=lambda d: d + step)).passed


def test_a_fault_that_steps_hide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A percent off before a QuantizeLinear changes few steps, as rounding does: each kernel is looked at."""
    right = qdq()
    graph, tanh = import_model(right), RULES["onnx.Tanh"].lower
    samples = [random_inputs(graph, seed) for seed in range(2)]

    def wrong(call: Call) -> te.Tensor:
        result = tanh(call)
        assert isinstance(result, te.Tensor)
        return te.compute(result.shape, lambda *at: result(*at) * tirx.const(1.01, "float32"))

    monkeypatch.setitem(RULES, "onnx.Tanh", replace(RULES["onnx.Tanh"], lower=wrong))
    module = dsc.compile(right, threads=1)
    monkeypatch.undo()
    verdict = examine(right, graph, module, samples)
    assert not verdict.passed, str(verdict)
    assert verdict.culprit is not None
    assert verdict.culprit.fault == "kernel"
    verdict = examine(right, graph, dsc.compile(right, threads=1), samples)
    assert verdict.passed, str(verdict)


def half(depth: int) -> onnx.ModelProto:
    """Products and activations in float16."""
    random = np.random.default_rng(3)
    nodes, value, weights = [], "x", {}
    for i in range(depth):
        weights[f"w{i}"] = (random.standard_normal((64, 64)) / 6).astype(np.float16)
        nodes += [
            make("MatMul", [value, f"w{i}"], [f"m{i}"], name=f"/product{i}"),
            make("Sigmoid", [f"m{i}"], [f"s{i}"]),
            make("Mul", [f"m{i}", f"s{i}"], [f"a{i}"]),
            make("Add", [f"a{i}", value], [f"r{i}"]),
        ]
        value = f"r{i}"
    return model(nodes, {"x": (HALF, [8, 64])}, {value: (HALF, [8, 64])}, weights)


@pytest.mark.parametrize("depth", [1, 6])
def test_half_precision(depth: int) -> None:
    """The deeper, the further may it be; a percent of every element is a fault at any depth."""
    right = half(depth)
    assert report_of(right, dsc.compile(right, threads=1)).passed
    name = f"r{depth - 1}"
    assert not report_of(right, Changed(right, **{name: lambda y: (y * np.float16(1.03)).astype(np.float16)})).passed


def test_an_output_of_small_scale() -> None:
    def scaled(by: float) -> onnx.ModelProto:
        nodes = [make("Mul", ["x", "c"], ["y"])]
        return model(nodes, {"x": (FLOAT, [4, 9])}, {"y": (FLOAT, [4, 9])}, {"c": np.array(by, np.float32)})

    assert report_of(scaled(1e-6), dsc.compile(scaled(1e-6), threads=1)).passed
    assert not report_of(scaled(1e-6), dsc.compile(scaled(-9e-6), threads=1)).passed


def test_where_the_references_optimizer_is_wrong() -> None:
    """MatMul(Transpose(x), v) with a vector: ONNX Runtime fuses it to something else; the specification does not."""
    nodes = [make("Transpose", ["x"], ["t"], perm=[0, 2, 1]), make("MatMul", ["t", "v"], ["y"])]
    inputs = {"x": (FLOAT, [3, 5, 4]), "v": (FLOAT, [5])}
    right = model(nodes, inputs, {"y": (FLOAT, [3, 4])})
    assert report_of(right, dsc.compile(right, threads=1)).passed
    inputs = random_inputs(import_model(right))
    expected = np.matmul(inputs["x"].transpose(0, 2, 1), inputs["v"])
    np.testing.assert_allclose(Reference(right).run(inputs)["y"], expected, rtol=1e-5)


def dynamic(limit: int) -> onnx.ModelProto:
    """A dynamically quantized product, with the scale (of rank 0) and the zero point as outputs too.

    limit: of the weights. Sums of two products with larger ones than 64 saturate in ONNX Runtime on processors without
    VNNI, as they go through 16 bits.
    """
    random = np.random.default_rng(4)
    weights = {
        "w": random.integers(-limit, limit, (24, 40)).astype(np.int8),
        "zero": np.array(0, np.int8),
        "s": np.array(0.01, np.float32),
    }
    nodes = [
        make("Tanh", ["x"], ["t"]),
        make("DynamicQuantizeLinear", ["t"], ["q", "scale", "point"]),
        make("MatMulInteger", ["q", "w", "point", "zero"], ["m"]),
        make("Cast", ["m"], ["f"], to=FLOAT),
        make("Mul", ["scale", "s"], ["both"]),
        make("Mul", ["f", "both"], ["y"]),
    ]
    outputs = {"y": (FLOAT, [16, 40]), "scale": (FLOAT, []), "point": (TensorProto.UINT8, []), "m": (6, [16, 40])}
    return model(nodes, {"x": (FLOAT, [16, 24])}, outputs, weights)


def test_dynamic_quantization_and_outputs_of_rank_0() -> None:
    right = dynamic(64)
    assert report_of(right, dsc.compile(right, threads=1)).passed
    assert not report_of(right, Changed(right, scale=lambda s: s * np.float32(1.01))).passed
    assert not report_of(right, Changed(right, y=lambda y: y * np.float32(1.01))).passed
    assert not report_of(right, Changed(right, m=lambda m: m + np.int32(300))).passed


def test_where_the_reference_saturates() -> None:
    """The module computes what the specification says, and that is found."""
    right = dynamic(127)
    module, graph = dsc.compile(right, threads=1), import_model(right)
    inputs = random_inputs(graph)
    if verify(right, module, [inputs], graph=graph).passed:
        pytest.skip("ONNX Runtime does not saturate on this processor")
    culprit = find_culprit(graph, module, inputs, Reference(right).run(inputs), lambda *_: None)
    assert culprit.fault == "reference", str(culprit)
    assert "matmul" in culprit.what


def test_an_index_at_a_tie() -> None:
    """The order of a sum decides between two equal columns; between others nothing may."""
    random = np.random.default_rng(5)
    w = random.standard_normal((64, 8)).astype(np.float32)
    w[:, 3] = w[::-1, 5]
    nodes = [make("MatMul", ["x", "w"], ["m"]), make("ArgMax", ["m"], ["y"], axis=1, keepdims=0)]
    right = model(nodes, {"x": (FLOAT, [32, 64])}, {"y": (TensorProto.INT64, [32])}, {"w": w})
    x = random.standard_normal((32, 64)).astype(np.float32)
    x[:, ::-1] = x  # so that columns 3 and 5 of the product are the same but for rounding
    x = x + x[:, ::-1]
    chosen = Reference(right).run({"x": x})["y"]
    swapped = np.where(chosen == 3, 5, np.where(chosen == 5, 3, chosen))
    assert (swapped != chosen).any()
    assert verify(right, Changed(right, y=lambda _: swapped), [{"x": x}]).passed
    assert not verify(right, Changed(right, y=lambda y: (y + 1) % 8), [{"x": x}]).passed
    assert not verify(
        right, Changed(right, y=lambda y: np.where(np.arange(32) == 7, (y + 1) % 3, y)), [{"x": x}]
    ).passed


def test_integers_are_exact() -> None:
    nodes = [make("Add", ["x", "c"], ["y"])]
    right = model(nodes, {"x": (7, [9])}, {"y": (7, [9])}, {"c": np.array(100_000)})
    assert report_of(right, dsc.compile(right, threads=1)).passed
    assert not report_of(right, Changed(right, y=lambda y: y + 9)).passed


@pytest.mark.parametrize("operator", ["Gelu", "Elu", "Softplus", "Mish", "Selu", "Celu", "LogSoftmax", "Log"])
def test_functions_in_which_terms_cancel(operator: str) -> None:
    """Gelu(-5) is -5 * (1 + erf(-3.5)) / 2: the sum has few digits, and either implementation may lose them."""
    right = model([make(operator, ["x"], ["y"])], {"x": (FLOAT, [64, 128])}, {"y": (FLOAT, [64, 128])})
    x = np.random.default_rng(6).uniform(-12, 6, (64, 128)).astype(np.float32)
    samples = [{"x": np.abs(x) + np.float32(1e-3) if operator == "Log" else x}]
    report = verify(right, dsc.compile(right, threads=1), samples)
    assert report.passed, str(report)
    assert not verify(right, Changed(right, y=lambda y: y + np.float32(1e-4)), samples).passed


@pytest.mark.parametrize("name", ["FLOAT8E4M3FN", "FLOAT8E5M2", "INT4", "UINT4", "INT2"])
def test_narrow_types_at_the_ends(name: str) -> None:
    """ONNX Runtime takes them as bytes only, packed where ONNX packs them; an odd number of elements."""
    code = TensorProto.DataType.Value(name)
    nodes = [make("Transpose", ["x"], ["y"]), make("Cast", ["x"], ["wide"], to=FLOAT)]
    right = model(nodes, {"x": (code, [3, 5])}, {"y": (code, [5, 3]), "wide": (FLOAT, [3, 5])}, opset=25)
    compiled, sample = dsc.compile(right, threads=1), random_inputs(import_model(right))
    assert len(np.unique(sample["x"].astype(np.float32))) > 2
    found = Reference(right).run(sample)
    assert found["y"].dtype == sample["x"].dtype
    np.testing.assert_array_equal(found["y"].astype(np.float32), sample["x"].T.astype(np.float32))
    assert verify(right, compiled, [sample]).passed
    other = {"x": np.roll(sample["x"].view(np.uint8), 1).view(sample["x"].dtype)}
    assert not compare("y", found["y"], compiled.run(other)["y"]).passed


def test_bfloat16_at_the_ends() -> None:
    """numpy has no such type, and ONNX Runtime's arrays neither."""
    code, w = TensorProto.BFLOAT16, np.random.default_rng(7).standard_normal((32, 32)).astype(np.float32)
    nodes = [
        make("Cast", ["x"], ["f"], to=FLOAT),
        make("MatMul", ["f", "w"], ["m"]),
        make("Cast", ["m"], ["y"], to=code),
    ]
    right = model(nodes, {"x": (code, [4, 32])}, {"y": (code, [4, 32])}, {"w": w})
    graph = import_model(right)
    samples = [random_inputs(graph)]
    assert examine(right, graph, dsc.compile(right, threads=1), samples).passed
    wrong = dsc.compile(model(nodes, {"x": (code, [4, 32])}, {"y": (code, [4, 32])}, {"w": w * np.float32(1.05)}))
    verdict = examine(right, graph, wrong, samples)
    assert verdict.culprit is not None
    assert verdict.culprit.fault == "packing"  # what differs between the two are the weights in the artifact


def test_one_tie_among_many_values() -> None:
    """1.5 + 1e-7 steps may be one step or two; no other value of the tensor lies near a tie."""
    w = np.ones((8, 1), np.float32)
    arrays = {"w": w, "s": np.array(0.25, np.float32), "z": np.array(0, np.uint8)}
    nodes = [make("MatMul", ["x", "w"], ["m"]), make("QuantizeLinear", ["m", "s", "z"], ["y"])]
    right = model(nodes, {"x": (FLOAT, [64, 8])}, {"y": (TensorProto.UINT8, [64, 1])}, arrays)
    rows = np.arange(64)[:, None]
    x = (rows / 32 * np.ones((64, 8))).astype(np.float32)
    x[5] = [0.3, 0.1, 0.2, 0.025, 0, 0, 0, 0]
    chosen = Reference(right).run({"x": x})["y"]
    assert chosen[5] in (2, 3)
    tie = np.where(rows == 5, 5 - chosen[5], chosen).astype(np.uint8)
    assert verify(right, Changed(right, y=lambda _: tie), [{"x": x}]).passed
    other = np.where(rows == 6, chosen + 2, chosen).astype(np.uint8)
    assert not verify(right, Changed(right, y=lambda _: other), [{"x": x}]).passed
