"""Models with operators of plugins, compiled as a user would: the numbers, and the sizes they take."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.errors import UnsupportedModelError, UsageError
from dsc.ir import register_operator
from dsc.pipeline import Compilation, compile_model
from tests.compiled import run
from tests.domains import mine
from tests.domains.mine import operand, schema
from tests.domains.models import SWOOSH, model, swooshed

LEVELS = pytest.mark.parametrize("opt_level", [0, 2])


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def compiled(graph: str, opt_level: int = 2, **weights: np.ndarray) -> Compilation:
    return compile_model(model(graph, weights), opt_level=opt_level)


def kinds(compilation: Compilation) -> list[str]:
    """What kernels are chosen for: fusions by kind and equation, others by name."""
    found = [
        (op.name, op.properties) for op in compilation.graph.ops() if op.name not in ("dsc.weight", "onnx.Constant")
    ]
    return [f"{p['kind'].data}: {p['rule'].data}" if "rule" in p else name for name, p in found]  # type: ignore[attr-defined]


@LEVELS
def test_an_attribute_by_default_and_given(opt_level: int) -> None:
    mine.swoosh()
    text = "(float[n,m] x) => (float[n,m] y, float[n,m] z) { y = com.mine.Swoosh(x) z = com.mine.Swoosh<beta=-0.5>(x) }"
    compilation = compiled(text, opt_level)
    for shape in ((1, 1), (5, 8), (3, 37)):
        x = random(*shape)
        y, z = run(compilation, {"x": x})
        np.testing.assert_allclose(y, swooshed(x), rtol=1e-5, atol=1e-6)  # exp is exact to some units in the last place
        np.testing.assert_allclose(z, swooshed(x, -0.5), rtol=1e-5, atol=1e-6)


def test_half_precision() -> None:
    mine.swoosh()
    x = random(4, 8).astype(np.float16)
    (y,) = run(compiled(SWOOSH.replace("float", "float16")), {"x": x})
    np.testing.assert_allclose(y, swooshed(x.astype(np.float32)), rtol=2e-3, atol=1e-4)  # float16 has 11 bits
    assert y.dtype == np.float16


@LEVELS
def test_an_optional_operand(opt_level: int) -> None:
    mine.blend()
    text = """(float[n,8] x, float[n,8] y, float[n,8] w) => (float[n,8] a, float[n,8] b) {
        a = com.mine.Blend(x, y)
        b = com.mine.Blend(x, y, w)
    }"""
    x, y, w = (random(3, 8) + i for i in range(3))
    a, b = run(compiled(text, opt_level), {"x": x, "y": y, "w": w})
    np.testing.assert_allclose(a, x + y, rtol=1e-6)
    np.testing.assert_allclose(b, x + w * y, rtol=1e-5, atol=1e-6)  # a product may be fused with the sum


@LEVELS
def test_a_variadic_operand(opt_level: int) -> None:
    mine.largest()
    text = """(float[n,8] x, float[n,1] y) => (float[n,8] a, float[n,8] b) {
        a = com.mine.Largest(x)
        b = com.mine.Largest(x, y, c)
    }"""
    x, y, c = random(5, 8), random(5, 1), random(1, 8)
    a, b = run(compiled(text, opt_level, c=c), {"x": x, "y": y})
    np.testing.assert_array_equal(a, x)
    np.testing.assert_array_equal(b, np.maximum(np.maximum(x, y), c))


@LEVELS
def test_two_outputs(opt_level: int) -> None:
    mine.halves()
    text = "(float[n,8] x) => (float[n,8] low, float[n,8] high) { low, high = com.mine.Halves(x) }"
    x = random(7, 8)
    low, high = run(compiled(text, opt_level), {"x": x})
    np.testing.assert_array_equal(low, np.minimum(x, 0))
    np.testing.assert_array_equal(high, np.maximum(x, 0))


def test_an_activation_joins_the_epilogue_of_a_product() -> None:
    mine.swoosh()
    text = "(float[n,16] x) => (float[n,8] y) { a = MatMul(x, w) b = Add(a, c) y = com.mine.Swoosh(b) }"
    w, c, x = random(16, 8), random(8), random(5, 16)
    compilation = compiled(text, w=w, c=c)
    assert kinds(compilation) == ["matmul: com.mine.swoosh((x @ c) + c)"]
    assert [choice.kernel for choice in compilation.model.choices] == ["cpu.gemm"]
    (y,) = run(compilation, {"x": x})
    np.testing.assert_allclose(y, swooshed(x @ w + c), rtol=1e-4, atol=1e-5)  # sums of 16 products


def test_an_activation_keeps_images_packed() -> None:
    """It is computed in the layout of the convolutions before and after it."""
    mine.swoosh()
    text = """(float[1,16,9,9] x) => (float[1,16,9,9] y) {
        a = Conv<pads=[1,1,1,1]>(x, w)
        b = com.mine.Swoosh(a)
        y = Conv<pads=[1,1,1,1]>(b, w)
    }"""
    compilation = compiled(text, w=random(16, 16, 3, 3))
    assert [kind.partition(":")[0] for kind in kinds(compilation)] == ["dsc.pack", "conv", "conv", "dsc.unpack"]


def test_an_elementwise_operator_joins_others() -> None:
    mine.swoosh()
    mine.largest()
    text = "(float[n,8] x) => (float[n,8] y) { a = Exp(x) b = com.mine.Swoosh(a) y = com.mine.Largest(x, b) }"
    compilation = compiled(text)
    assert kinds(compilation) == ["elementwise: com.mine.largest(x, com.mine.swoosh(exp(x)))"]
    x = random(4, 8)
    np.testing.assert_allclose(run(compilation, {"x": x})[0], np.maximum(x, swooshed(np.exp(x))), rtol=1e-5)


def test_an_operator_without_facts_is_by_itself() -> None:
    mine.blend()
    compilation = compiled("(float[n,8] x) => (float[n,8] y) { a = Exp(x) b = com.mine.Blend(a, x) y = Neg(b) }")
    assert "onnx.com.mine.Blend" in kinds(compilation)
    x = random(4, 8)
    np.testing.assert_allclose(run(compilation, {"x": x})[0], -(np.exp(x) + x), rtol=1e-5)


def test_sizes_are_checked_by_the_rule_of_the_operator() -> None:
    mine.blend()
    module = compiled("(float[n,8] x, float[m,8] y) => (float[n,8] z) { z = com.mine.Blend(x, y) }").model.load(
        threads=1
    )
    assert module.run({"x": random(3, 8), "y": random(3, 8)})["z"].shape == (3, 8)
    with pytest.raises(UsageError, match=r"com\.mine\.Blend: dim 0 of its operands must be equal, not 3 and 4"):
        module.run({"x": random(3, 8), "y": random(4, 8)})


def test_operators_that_broadcast_are_checked_without_a_rule() -> None:
    mine.largest()
    module = compiled("(float[n,8] x, float[m,8] y) => (float[n,8] z) { z = com.mine.Largest(x, y) }").model.load(
        threads=1
    )
    with pytest.raises(
        UsageError, match=r"com\.mine\.Largest: dims -2 of its operands must be equal, or one of them 1"
    ):
        module.run({"x": random(3, 8), "y": random(4, 8)})


@pytest.mark.parametrize("opt_level", [0, 1, 2])
def test_constants_are_not_folded(opt_level: int) -> None:
    """ONNX Runtime folds constants; what a plugin's operator computes, only its lowering knows."""
    mine.swoosh()
    w = random(1, 8)
    compilation = compiled("(float[n,8] x) => (float[n,8] y) { a = com.mine.Swoosh(w) y = Add(x, a) }", opt_level, w=w)
    assert "onnx.com.mine.Swoosh" in str(compilation.graph)
    x = random(3, 8)
    np.testing.assert_allclose(run(compilation, {"x": x})[0], x + swooshed(w), rtol=1e-5, atol=1e-6)


def test_an_operator_without_a_lowering_is_refused() -> None:
    register_operator(schema("Swoosh", [operand("X")]))
    with pytest.raises(
        UnsupportedModelError, match=r"com\.mine\.Swoosh: .* registered no lowering \(dsc\.lower\.lowers\)"
    ):
        compiled(SWOOSH)
