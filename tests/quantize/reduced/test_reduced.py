"""Schemes bf16 and fp16: what is written, how near it is, what stays in float32, and what is said of it."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx.checker
import onnx.helper
import onnx.parser
import pytest

import dsc
from dsc.check import Reference
from dsc.check.interface import element_codes
from dsc.check.layers import compare_layers
from dsc.errors import BudgetError, UnsupportedModelError, UsageError
from dsc.quantize.halves import HALVES
from dsc.quantize.policy import Policy, PolicyRule
from dsc.quantize.quantized import LayerReport, Quantized
from dsc.quantize.session import runner
from tests.compiled import TextModel
from tests.quantize.nets import CONVS, DENSE, PRODUCTS, Feed, names, samples, weight
from tests.quantize.test_quantize import agreement

UNIT = {"fp16": 2.0**-11, "bf16": 2.0**-8}
"""Of a rounding, relative."""
FLOAT = onnx.TensorProto.FLOAT


def reduced(model: TextModel, scheme: str = "fp16", data: list[Feed] | None = None, **keywords: object) -> Quantized:
    found = dsc.quantize(model.proto(), data, scheme=scheme, **keywords)  # type: ignore[operator]
    onnx.checker.check_model(found.model, full_check=True)
    return found  # type: ignore[no-any-return]


def by_name(found: Quantized) -> dict[str, LayerReport]:
    return {layer.name: layer for layer in found.report.layers}


@pytest.mark.parametrize("scheme", HALVES)
@pytest.mark.parametrize("model", [CONVS, PRODUCTS, DENSE], ids=["convs", "products", "dense"])
def test_outputs_are_near_and_weights_are_halves(model: TextModel, scheme: str) -> None:
    found, code = reduced(model, scheme), HALVES[scheme].code
    ends = (*found.model.graph.input, *found.model.graph.output)
    assert {value.type.tensor_type.elem_type for value in ends} == {FLOAT}
    stored = [w.data_type for w in found.model.graph.initializer if w.data_type != onnx.TensorProto.INT64]
    assert set(stored) == {code}
    (feed,) = samples(model, 1, seed=9)
    runs = [runner(found.model), *([Reference(found.model, 1).run] if scheme == "fp16" else [])]  # it has no bfloat16
    (expected,) = runner(model.proto())(feed).values()
    for run in runs:
        error = np.abs(run(feed)["y"] - expected).max() / np.abs(expected).max()
        assert UNIT[scheme] / 8 < error < 8 * UNIT[scheme]  # some ten roundings, which do not all add up


def test_a_file_of_bfloat16_runs_here() -> None:
    """ONNX Runtime has no kernels of it; `test_special_values` has float16."""
    found = reduced(DENSE, "bf16", samples(DENSE, 3))
    assert found.report.snr is not None
    assert 35 < found.report.snr < 60
    (feed,) = samples(DENSE, 1, seed=8)
    expected, got = runner(DENSE.proto())(feed)["y"], dsc.compile(found.model, threads=1).run(feed)["y"]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=4 * UNIT["bf16"] * np.abs(expected).max())


def test_casts_are_at_borders_only() -> None:
    """Of the softmax, and of inputs and outputs; one for each tensor."""
    model = reduced(PRODUCTS).model
    casts = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "Cast"}
    assert casts == {"x": "x_float16", "s": "s_float32", "p": "p_float16", "y_float16": "y", "v": "v_float16"}
    codes = element_codes(model)
    assert {name for name, code in codes.items() if code == FLOAT} == {"x", "y", "s_float32", "p", "v"}


ISLANDS = TextModel(
    """(float[n,5,16] x, float[n,1,5] m) => (float[n,5,16] y) {
        [query] q = MatMul(x, w)
        [turn] t = Transpose<perm=[0,2,1]>(q)
        [scores] s = MatMul(q, t)
        [mask] h = Mul(m, low)
        [masked] a = Add(s, h)
        [soft] p = Softmax(a)
        [mix] c = MatMul(p, q)
        [mean] u = ReduceMean<axes=[-1]>(c)
        [less] d = Sub(c, u)
        [square] e = Mul(d, d)
        [variance] v = ReduceMean<axes=[-1]>(e)
        [guard] g = Add(v, epsilon)
        [root] r = Sqrt(g)
        [norm] f = Div(d, r)
        [scale] k = Mul(f, gain)
        [last] z = MatMul(k, w)
        [huge] o = MatMul(z, large)
        [back] y = Mul(o, little)
    }""",
    {
        "w": weight(16, 16), "low": np.float32(-1e9), "epsilon": np.float32(1e-12), "gain": 1 + weight(16) ** 2,
        "large": weight(16, 16) * np.float32(4e5), "little": np.float32(1e-5),
    },
    17,
)  # fmt: skip
"""An attention with a mask, a norm in its parts, weights beyond 65504 and a scale below the normal numbers."""


def test_what_stays_in_float32_and_why() -> None:
    found = reduced(ISLANDS)
    reasons = {name: layer.reason for name, layer in by_name(found).items() if not layer.quantized}
    sums, beside = "norms, softmax and reductions are in float32", "beside what is in float32"
    assert reasons.pop("mask") == "its constant low reaches 1e+09: float16 ends at 6.55e+04"
    assert reasons.pop("guard").startswith("its constant epsilon is 1e-12 at most: float16 has few digits")
    assert reasons.pop("huge").startswith("its constant large reaches ")
    assert reasons.pop("back").startswith("its constant little is 1e-05 at most")
    for name in ("masked", "square", "root", "norm"):
        assert reasons.pop(name) == "it may leave the range, and there are no samples to tell"
    assert reasons == {"soft": sums, "mean": sums, "variance": sums, "less": beside, "scale": beside}
    assert "large" in {tensor.name for tensor in found.model.graph.initializer}
    assert found.report.unit == "weights"
    assert found.report.share == pytest.approx(512 / (512 + 256 + 16 + 3))


def masked_samples(scale: float = 1.0) -> list[Feed]:
    random = np.random.default_rng(4)
    return [
        {"x": scale * random.standard_normal((2, 5, 16), np.float32), "m": np.float32([[[0, 0, 1, 0, 1]]] * 2)}
        for _ in range(3)
    ]


def test_samples_tell_what_leaves_the_range() -> None:
    """In bfloat16 there are numbers for all of them."""
    seen = by_name(reduced(ISLANDS, "fp16", masked_samples()))
    assert seen["masked"].reason.startswith("h reaches 1e+09 in the samples: float16 ends at")
    assert seen["query"].half == "fp16"
    far = by_name(reduced(ISLANDS, "fp16", masked_samples(300)))
    assert far["scores"].reason.startswith("s reaches ")
    assert far["query"].half == "fp16"
    wide = by_name(reduced(ISLANDS, "bf16", masked_samples(300)))
    assert {name for name, layer in wide.items() if layer.half is None} == {
        "mask", "masked", "soft", "mean", "less", "square", "variance", "guard", "root", "norm", "scale",
    }  # fmt: skip


def test_infinite_masks_stay_what_they_are() -> None:
    """Equal infinities differ by nothing; the layer is judged by its finite numbers."""
    model = TextModel(
        "(float[3,4] x) => (float[3,4] y) { [one] a = MatMul(x, w) [mask] b = Add(a, m) [two] y = Sigmoid(b) }",
        {"w": weight(4, 4), "m": np.float32([0, -np.inf, 0, np.inf])},
        17,
    )
    found = by_name(reduced(model, "fp16", samples(model, 3)))
    ratio = found["mask"].snr
    assert found["mask"].half == "fp16"
    assert ratio is not None
    assert 55 < ratio < 90


def test_special_values() -> None:
    """As float16 is judged, and through dsc: overflow to infinity where a float32 becomes half, subnormals, NaN."""
    model = TextModel("(float[n,1] x) => (float[n,1] y) { y = MatMul(x, w) }", {"w": np.float32([[1.5]])})
    x = np.float32([np.nan, np.inf, -np.inf, 0, -0.0, 65504, 65519, 65520, -1e30, 1e-7, 5e-8, 2e-8, 6.2e-5, 1.0004883])
    found = reduced(model).model
    with np.errstate(over="ignore"):
        half = x.astype(np.float16).astype(np.float64)
    for run in (runner(found), dsc.compile(found, threads=1).run):
        got = run({"x": x[:, None]})["y"][:, 0]
        beyond = np.abs(half) * 1.5 > 65504  # rounded after the product in one, in float32 until the end in the other
        # half a unit of 2^-10, of 2^-24 where numbers are subnormal
        np.testing.assert_allclose(got[~beyond], half[~beyond] * 1.5, rtol=2.0**-11, atol=2.0**-25)
        assert np.all(np.isin(np.abs(got[beyond]), [np.inf, 65504 * 1.5]))
        assert np.isnan(got[0])


SENSITIVE = TextModel(
    """(float[n,16] x) => (float[n,16] y) {
        [easy] a = MatMul(x, w)
        [spread] b = Mul(a, spread)
        [hard] c = MatMul(b, rare)
        [lift] d = Mul(c, thousands)
        [calm] e = Tanh(d)
        [mild] y = MatMul(e, w)
    }""",
    {
        "w": weight(16, 16), "spread": np.float32([0.01, *[3000] * 15]), "thousands": np.float32([2000]),
        "rare": weight(16, 16, seed=1) * np.float32([0.1, *[1e-7] * 15])[:, None],
    },
)  # fmt: skip
"""Most weights of `hard` are a few steps of float16's subnormal numbers."""


def test_the_sensitive_layer_stays_in_float32() -> None:
    data, judge = samples(SENSITIVE), agreement(SENSITIVE)
    found = reduced(SENSITIVE, "fp16", data, evaluate=judge, max_accuracy_drop=0.01)
    reasons = {name: layer.reason for name, layer in by_name(found).items() if not layer.quantized}
    beside = dict.fromkeys(("spread", "lift", "calm"), "beside what is in float32")
    assert reasons == {"hard": "too sensitive for the accuracy asked for"} | beside
    assert found.report.accuracy is not None
    assert found.report.accuracy.evaluations == 2
    assert found.report.worst_first()[0].name == "hard"
    everything = reduced(SENSITIVE, "fp16", data)
    assert found.report.snr is not None
    assert everything.report.snr is not None
    assert found.report.snr > everything.report.snr + 20
    policy = Policy((PolicyRule("fp16", names=("hard",)),))
    with pytest.raises(BudgetError, match=r"no more than 0\.01 may be lost.*float for hard"):
        reduced(SENSITIVE, "fp16", data, policy=policy, evaluate=judge, max_accuracy_drop=0.01)


def test_policies() -> None:
    rules = PolicyRule("fp16", ops=("Softmax",)), PolicyRule("float", names=("key*", "mix"))
    found = by_name(reduced(PRODUCTS, policy=Policy(rules)))
    assert {name for name, layer in found.items() if layer.half} == {"scores", "soft", "out"}
    assert found["soft"].reason == "the policy keeps Softmax in fp16"
    assert found["mix"].reason == "the policy keeps key* mix in float"
    with pytest.raises(UsageError, match=r"keeps Gemm in int8, and the scheme is fp16.*keep = 'fp16' for the rest"):
        reduced(DENSE, policy=Policy((PolicyRule("int8", ops=("Gemm",)),)))
    with pytest.raises(UsageError, match="near are"):
        reduced(DENSE, policy=Policy((PolicyRule("float", names=("frist",)),)))
    with pytest.raises(UnsupportedModelError, match="nothing in the model that can be in float16"):
        reduced(DENSE, policy=Policy((PolicyRule("float", names=("*",)),)))


@pytest.mark.parametrize("half", HALVES)
def test_attention_in_half_precision_and_the_rest_in_bytes(half: str) -> None:
    policy = Policy((PolicyRule(half, between=("scores", "mix")),))  # type: ignore[arg-type]
    found = reduced(PRODUCTS, "int8", samples(PRODUCTS), policy=policy)
    layers = by_name(found)
    assert {name for name, layer in layers.items() if layer.half == half} == {"scores", "mix"}
    assert layers["mix"].reason == f"the policy keeps scores to mix in {half}"
    assert layers["key"].quantized
    assert found.report.excluded == []
    assert len(names(found.model, "QuantizeLinear")) == 2
    codes = element_codes(found.model)
    made = {node.name: codes[node.output[0]] for node in found.model.graph.node}
    assert {name for name, code in made.items() if code == HALVES[half].code} >= {"scores", "mix"}
    assert made["soft"] == FLOAT
    alone = dsc.quantize(PRODUCTS.proto(), samples(PRODUCTS))  # type: ignore[operator]
    (feed,) = samples(PRODUCTS, 1, seed=3)
    bytes_, mixed = (runner(model)(feed)["y"] for model in (alone.model, found.model))
    # attention's roundings; and a step of what `out` reads, where they tip one: it has 255 over some 8
    np.testing.assert_allclose(mixed, bytes_, atol=4 * UNIT[half] * np.abs(bytes_).max() + 0.1)


@pytest.mark.parametrize("scheme", ["dynamic", "int8-weights"])
def test_half_precision_beside_other_schemes(scheme: str) -> None:
    policy = Policy((PolicyRule("fp16", names=("second",)),))
    found = reduced(DENSE, scheme, policy=policy)
    assert [layer.half for layer in found.report.layers] == [None, "fp16"]
    assert [layer.quantized for layer in found.report.layers] == [True, False]
    (feed,) = samples(DENSE, 1, seed=3)
    expected, got = runner(DENSE.proto())(feed)["y"], runner(found.model)(feed)["y"]
    np.testing.assert_allclose(got, expected, atol=0.03 * np.abs(expected).max())


def test_bfloat16_is_rounded_where_nobody_has_kernels_of_it() -> None:
    """As numpy does it: data, weights, the product, and the product of that."""
    found = reduced(DENSE, "bf16")
    (feed,) = samples(DENSE, 1, seed=5)

    def half(array: np.ndarray) -> np.ndarray:
        return array.astype(ml_dtypes.bfloat16).astype(np.float32)

    w0, b0, w1, b1 = (half(DENSE.weights[name]) for name in ("w0", "b0", "w1", "b1"))
    expected = half(half(np.maximum(half(half(feed["x"]) @ w0.T + b0), 0)) @ w1 + b1)
    np.testing.assert_allclose(runner(found.model)(feed)["y"], expected, rtol=2.0**-7)  # a unit: sums in another order


def test_tables_are_halves_whoever_reads_them() -> None:
    """A Cast of what is looked up is less than a table of float32."""
    model = TextModel(
        """(int64[n] i) => (float[n,16] y) {
            [look] e = Gather(table, i) [norm] f = LayerNormalization(e, gain) [last] y = MatMul(f, w)
        }""",
        {"table": weight(50, 16), "gain": 1 + weight(16) ** 2, "w": weight(16, 16)},
        17,
    )
    found = reduced(model)
    stored = {w.name: (w.data_type, tuple(w.dims)) for w in found.model.graph.initializer}
    assert stored["table_float16"] == (HALVES["fp16"].code, (50, 16))
    assert stored["gain"] == (FLOAT, (16,))
    look = by_name(found)["look"]
    assert (look.size, look.half) == (800, "fp16")
    feed = {"i": np.array([3, 0, 49, 3])}
    expected, got = (runner(each)(feed)["y"] for each in (model.proto(), found.model))
    np.testing.assert_allclose(got, expected, atol=4 * UNIT["fp16"] * np.abs(expected).max())


def test_what_bodies_of_control_flow_read_stays_float32() -> None:
    """The product has it in half precision, under another name; its Cast has the name that the body knows."""
    body = onnx.parser.parse_graph("then () => (float[2,16] r) { r = Relu(h) }")
    other = onnx.parser.parse_graph("other () => (float[2,16] r) { r = Neg(h) }")
    model = TextModel(
        "(float[2,16] x, bool flag) => (float[2,16] y, float[2,16] z) { h = MatMul(x, w) z = MatMul(h, w) }",
        {"w": weight(16, 16)},
        17,
    ).proto()
    branch = onnx.helper.make_node("If", ["flag"], ["y"], "branch", then_branch=body, else_branch=other)
    model.graph.node.insert(1, branch)
    found = dsc.quantize(model, scheme="fp16").model  # type: ignore[operator]
    onnx.checker.check_model(found, full_check=True)
    assert element_codes(found)["h"] == FLOAT
    x = np.random.default_rng(2).standard_normal((2, 16), np.float32)
    feed = {"x": x, "flag": np.array(False)}
    expected, got = (runner(each)(feed) for each in (model, found))
    for name in ("y", "z"):
        error = np.abs(got[name] - expected[name]).max() / np.abs(expected[name]).max()
        assert UNIT["fp16"] / 16 < error < 4 * UNIT["fp16"]


@pytest.mark.parametrize("scheme", HALVES)
def test_the_ratio_of_a_layer_is_that_of_its_roundings(scheme: str) -> None:
    """Of data, weights and the result, in float64; sums of it in float32 are as good as exact."""
    model = TextModel("(float[n,40] x) => (float[n,30] y) { [one] y = MatMul(x, w) }", {"w": weight(40, 30)}, 17)
    data = samples(model, 5)

    def half(array: np.ndarray) -> np.ndarray:
        return array.astype(np.float32).astype(HALVES[scheme].dtype).astype(np.float64)

    x, w = np.concatenate([feed["x"] for feed in data]), model.weights["w"]
    exact, rounded = x.astype(np.float64) @ w.astype(np.float64), half(half(x) @ half(w))
    expected = 10 * np.log10((exact**2).mean() / ((exact - rounded) ** 2).mean())
    assert by_name(reduced(model, scheme, data))["one"].snr == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("scheme", HALVES)
def test_layer_by_layer_against_float(scheme: str) -> None:
    """Each layer's own error is that of its roundings, what it was given in half precision included."""
    found = reduced(DENSE, scheme)
    report = compare_layers(DENSE.proto(), found.model, samples(DENSE, 4))
    own = {layer.node: layer.own.snr for layer in report.layers if layer.own is not None}
    decibels = {"fp16": 75, "bf16": 56}[scheme]  # of one rounding; a layer has that of weights and of its result
    for name in ("first", "second"):
        assert decibels - 10 < own[name] < decibels
