"""Attention in pairs of bfloat16: where it is, its inner loops, and numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tvm import tirx
from tvm.ir import Expr

from dsc.lower.floats import constant, f32
from dsc.pipeline import compile_model
from dsc.targets import target
from dsc.targets.cpu.attention import Attention
from dsc.targets.cpu.attention.factors import by_reciprocals, in_pairs
from dsc.targets.cpu.attention.space import AttentionSpace
from tests.bundle.arm import launcher
from tests.bundle.bundles import bundle, tool
from tests.compiled import TextModel
from tests.kernels import compiled_library, machine
from tests.targets.assembly import X86
from tests.targets.half_attention import HalfAttention
from tests.targets.test_attention import CASES, GUARDED, MASKED, SCALED, WHERE, heads
from tests.targets.weighted import check

EMULATED = "arm:neoverse-v1"
OFF = 6e-2
"""Results are means of numbers below 4. Roundings of 2^-9 move scores that are not scaled, up to 15, by hundredths,
and so the weights by some percent."""
EVEN = [
    heads((1, 32, 2, 16), SCALED),
    heads((2, 38, 3, 32), MASKED, "float[2,1,1,38] mask"),
    heads((1, 2, 2, 16), SCALED),
    heads((1, 66, 1, 48), MASKED, "float[1,1,66,66] mask"),
    heads((1, 20, 2, 16), GUARDED, "float[1,1,20,20] mask"),
    heads((1, 70, 3, 16), WHERE, "bool[1,1,70,70] mask"),
    heads(("b", 34, 2, 64), SCALED, b=2),
]
ROUNDED = [HalfAttention(case.text, case.sizes, multiplied_as="bfloat16", atol=OFF) for case in (*EVEN, *CASES)]


def space(region: HalfAttention, tag: str) -> AttentionSpace:
    found = Attention().match(region.workload(), machine(tag))
    assert isinstance(found, AttentionSpace), found
    return found


def needs_bfloat16() -> None:
    if not machine().multiply_adds("bfloat16", "bfloat16", "float32"):
        pytest.skip("this processor does not multiply bfloat16")


def test_where_it_is() -> None:
    """Even numbers of keys and of the depth that are known, values that fill vectors, a machine that multiplies it."""
    for region in ROUNDED[: len(EVEN)]:
        assert in_pairs(space(region, "x86:znver4").problem, machine("x86:znver4"))
        assert not in_pairs(space(region, "x86:znver3").problem, machine("x86:znver3"))
        half = space(replace(region, multiplied_as="float16"), "x86:znver4")
        assert not in_pairs(half.problem, half.machine)
    odd, free, narrow = (heads(lengths, SCALED, s=8) for lengths in ((1, 37, 2, 16), (1, "s", 2, 16), (1, 32, 2, 24)))
    for region in (odd, free, narrow):
        found = space(HalfAttention(region.text, region.sizes, multiplied_as="bfloat16"), "x86:znver4")
        assert not in_pairs(found.problem, found.machine)


def test_numbers() -> None:
    needs_bfloat16()
    check(Attention(), ROUNDED, machine())


def test_any_point_is_right() -> None:
    needs_bfloat16()
    check(Attention(), ROUNDED[1:2], machine(), lambda space: list(space.points())[::5])


def test_it_is_not_as_near_as_float32() -> None:
    """So that the numbers above are those of bfloat16."""
    needs_bfloat16()
    with pytest.raises(AssertionError):
        check(Attention(), [replace(ROUNDED[0], atol=1e-5)], machine())


def test_numbers_under_emulation(tmp_path: Path) -> None:
    tool("aarch64-linux-gnu-g++")
    region = ROUNDED[1]
    model = region.model()
    names = [value.name for value in model.graph.input]
    feeds = dict(zip(names, region.arrays(seed=3), strict=True))
    compilation = compile_model(model, target=EMULATED, precision="bf16")
    assert "cpu.attention" in {choice.kernel for choice in compilation.model.choices}
    compilation.model.write(tmp_path / "attention.dsc")
    made = bundle(tmp_path / "attention.dsc", tmp_path / "attention", launcher(target(EMULATED).backend()))
    (found,) = made.run(feeds, tmp_path)
    (expected,) = TextModel(region.text).reference(feeds)
    assert 1e-5 < np.abs(found - expected).max() < OFF


SPECIAL = """(float[2,2,10,16] q, float[2,2,12,16] k, float[2,2,12,16] v, float[10,12] mask) => (float[2,2,10,16] y) {
    kt = Transpose<perm=[0,1,3,2]>(k) p = MatMul(q, kt) pm = Add(p, mask) w = Softmax(pm) y = MatMul(w, v) }"""


def test_special_values() -> None:
    """Rows masked as a whole, NaN and infinities: NaN is where it is in float32, and numbers are near."""
    needs_bfloat16()
    random = np.random.default_rng(17)
    shapes = {"q": (2, 2, 10, 16), "k": (2, 2, 12, 16), "v": (2, 2, 12, 16), "mask": (10, 12)}
    feeds = {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    feeds["mask"][3], feeds["mask"][4, 2:] = -np.inf, -np.inf
    feeds["q"][0, 0, 1], feeds["q"][0, 1, 2] = np.nan, np.inf
    feeds["v"][1, 1, 2], feeds["v"][1, 0, 7] = np.nan, -np.inf
    model = TextModel(SPECIAL)
    compilation = compile_model(model.proto(), precision="bf16")
    assert [choice.kernel for choice in compilation.model.choices] == ["cpu.attention"]
    (found,) = compilation.model.load(1).run(feeds).values()
    (expected,) = model.reference(feeds)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, atol=OFF)


def test_a_guard_clears_pairs() -> None:
    """Rows masked as a whole, and those of a query that is no number, have weights of 0; no other row changes."""
    needs_bfloat16()
    guarded = SPECIAL.replace(
        "w = Softmax(pm)", "s = Softmax(pm) n = IsNaN(s) z = Constant<value_float=0.0>() w = Where(n, z, s)"
    )
    random = np.random.default_rng(19)
    feeds = {name: random.standard_normal((2, 2, s, 16), np.float32) for name, s in (("q", 10), ("k", 12), ("v", 12))}
    feeds["mask"] = random.standard_normal((10, 12), np.float32)
    feeds["mask"][3] = -np.inf
    feeds["q"][0, 0, 1] = np.nan
    model = TextModel(guarded)
    compilation = compile_model(model.proto(), precision="bf16")
    assert [choice.kernel for choice in compilation.model.choices] == ["cpu.attention"]
    (found,) = compilation.model.load(1).run(feeds).values()
    (expected,) = model.reference(feeds)
    assert not found[:, :, 3].any()
    assert not found[0, 0, 1].any()
    np.testing.assert_allclose(found, expected, atol=OFF)


def test_the_inner_loops_multiply_pairs() -> None:
    """Both, with nothing on the stack."""
    region = heads((1, 128, 2, 64), SCALED)
    found = space(HalfAttention(region.text, region.sizes, multiplied_as="bfloat16"), "x86:znver4")
    best = min(found.points(), key=found.estimate)
    backend = target("x86:znver4").backend()
    code = backend.assembly(compiled_library({"attention": found.build(best).func}, backend))
    loops = X86.innermost_loops(code, "vdpbf16ps")
    assert len(loops) >= 2
    assert max(X86.count(loop, "vdpbf16ps") for loop in loops) >= best.keys * best.vectors
    assert not [line for loop in loops for line in (*X86.on_stack(loop), *X86.calls(loop))]


def _quotient(divisor: float, dtype: str = "float32") -> Expr:
    return tirx.Var("x", dtype) / constant(divisor, dtype)


@pytest.mark.parametrize("divisor", [5.656854152679443, -3.0, 2.0**100])
def test_quotients_by_numbers_become_products(divisor: float) -> None:
    x = tirx.Var("x", "float32")
    product = by_reciprocals(x / constant(divisor, "float32") + f32(1))
    assert isinstance(product, tirx.Add)
    assert isinstance(product.a, tirx.Mul)
    assert product.a.a.same_as(x)
    assert np.float32(product.a.b.args[0].value) == np.float32(1 / divisor)


@pytest.mark.parametrize(
    ("why", "quotient"),
    [
        ("its reciprocal is infinite", _quotient(2.0**-140)),
        ("its reciprocal is no normal number", _quotient(3e38)),
        ("of nothing", _quotient(0.0)),
        ("of infinity", _quotient(np.inf)),
        ("no number", _quotient(np.nan)),
        ("not float32", _quotient(3.0, "float64")),
        ("not by a number", tirx.Var("x", "float32") / tirx.Var("y", "float32")),
    ],
)
def test_quotients_stay(why: str, quotient: tirx.Div) -> None:
    assert by_reciprocals(quotient).same_as(quotient), why


def test_scores_are_multiplied_by_reciprocals_in_pairs_only() -> None:
    """Of twelve vectors of scores, none is divided; those of float32 are."""
    divided = []
    for multiplied_as in ("bfloat16", None):
        region = heads((1, 128, 2, 64), "c = Constant<value_float=7.0>() ps = Div(p, c) w = Softmax<axis=-1>(ps)")
        found = space(HalfAttention(region.text, region.sizes, multiplied_as=multiplied_as), "x86:znver4")
        best, backend = min(found.points(), key=found.estimate), target("x86:znver4").backend()
        code = backend.assembly(compiled_library({"attention": found.build(best).func}, backend))
        divided.append(code.count("vdivps") - best.vectors)  # of the sums of exponentials
    assert divided[0] == 0
    assert divided[1] >= best.keys
