"""Attention in fours of bytes: where it is, its inner loops, and exact numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import tirx

from dsc.lower.floats import f32
from dsc.pipeline import compile_model
from dsc.targets import target
from dsc.targets.cpu.attention import Attention
from dsc.targets.cpu.attention.factors import MOST_TERMS, by_reciprocals_of, in_fours
from dsc.targets.cpu.attention.space import AttentionSpace
from tests.bundle.arm import launcher
from tests.bundle.bundles import bundle, tool
from tests.kernels import compiled_library, machine
from tests.targets.assembly import X86
from tests.targets.quantized_attention import QuantizedAttention, exact
from tests.targets.regions import Region, library

U, S = np.uint8, np.int8
USUAL = (U(128), U(121), U(130), U(0))
CASES = [
    QuantizedAttention.of((1, 2, 32, 32, 64, 64), USUAL),
    QuantizedAttention.of((1, 2, 37, 29, 32, 48), (S(0), S(0), S(0), U(0))),
    QuantizedAttention.of((2, 1, 66, 67, 24, 40), (U(0), U(255), U(0), U(255))),
    QuantizedAttention.of((1, 3, 21, 18, 13, 7), (S(-128), S(127), S(127), S(-128))),
    QuantizedAttention.of((1, 1, 5, 70, 80, 16), (U(255), S(-128), U(255), S(127))),
    QuantizedAttention.of((1, 1, 33, 1, 3, 1), (S(5), U(7), S(-9), U(3))),
    QuantizedAttention.of((1, 2, 1, 50, 64, 64), (U(3), U(250), S(-7), S(2))),
    QuantizedAttention.of(("b", 2, "s", "t", 32, 32), (U(140), S(-3), U(90), U(1)), b=2, s=19, t=23),
    QuantizedAttention.of((1, 2, "s", "s", 16, 16), USUAL, s=1),
    QuantizedAttention.of((1, 1, 20, 300, 256, 24), USUAL),
]


def space(region: Region, tag: str = "x86:znver4") -> AttentionSpace:
    found = Attention().match(region.workload(), machine(tag))
    assert isinstance(found, AttentionSpace), found
    return found


def in_bytes(region: Region, tag: str = "x86:znver4") -> bool:
    return in_fours(space(region, tag).problem, machine(tag))


def needs_fours() -> None:
    if not in_bytes(CASES[0], "x86"):
        pytest.skip("this processor does not multiply four bytes at once")


@pytest.mark.parametrize("tag", ["x86:znver4", "x86:alderlake", "arm:neoverse-n1", "arm:neoverse-v1"])
def test_where_it_is(tag: str) -> None:
    """Any sizes and signs, where the machine has such instructions: unsigned by signed bytes, or signed ones."""
    assert all(in_bytes(region, tag) for region in CASES)


@pytest.mark.parametrize("tag", ["x86:haswell", "arm:cortex-a72"])
def test_where_it_is_not(tag: str) -> None:
    assert not in_bytes(CASES[0], tag)


WEIGHTS = "b = QuantizeLinear(s, sw, zw) w = DequantizeLinear(b, sw, zw)"
QUERIES = "qf = DequantizeLinear(q, sq, zq)"


@pytest.mark.parametrize(
    ("why", "old", "new"),
    [
        ("queries are scaled afterwards", QUERIES, "q0 = DequantizeLinear(q, sq, zq) qf = Mul(q0, sq)"),
        ("keys are floats", "kf = DequantizeLinear(kt, sk, zk)", "kf = Cast<to=1>(kt)"),
        ("weights are not quantized", WEIGHTS, "w = Identity(s)"),
        ("values are floats", "vf = DequantizeLinear(v, sv, zv)", "vf = Cast<to=1>(v)"),
    ],
)
def test_factors_that_are_not_bytes(why: str, old: str, new: str) -> None:
    assert old in CASES[0].text
    assert not in_bytes(replace(CASES[0], text=CASES[0].text.replace(old, new))), why


@pytest.mark.parametrize("lengths", [(1, 1, 4, 4, MOST_TERMS + 1, 16), (1, 1, 4, MOST_TERMS + 1, 16, 16)])
def test_sums_that_could_leave_32_bits(lengths: tuple[int, ...]) -> None:
    assert not in_bytes(QuantizedAttention.of(lengths, USUAL))


def check(regions: list[QuantizedAttention], every: int | None = None) -> None:
    """Against exact arithmetic: the best point of each, or every so many points."""
    spaces = [(region, space(region, "x86")) for region in regions]
    built = [
        (region, point, found.build(point))
        for region, found in spaces
        for point in (list(found.points())[::every] if every else [min(found.points(), key=found.estimate)])
    ]
    functions = library([implementation for *_, implementation in built], machine())
    for (region, point, _), function in zip(built, functions, strict=True):
        arrays = region.arrays(seed=5)
        expected, off = exact(arrays)
        output = tvm.runtime.tensor(np.full(expected.shape, 77, np.float32))
        function(*map(tvm.runtime.tensor, arrays), output)
        wrong = np.abs(output.numpy() - expected) > off
        assert not wrong.any(), (region.text, point, np.argwhere(wrong)[:5])


def test_numbers() -> None:
    needs_fours()
    check(CASES)


def test_any_point_is_right() -> None:
    needs_fours()
    check(CASES[2:4], every=7)


def test_the_bound_of_errors_tells_bytes_from_others() -> None:
    """A byte of the values that is one off is seen in most rows."""
    arrays = CASES[0].arrays(seed=5)
    expected, off = exact(arrays)
    arrays[2] = arrays[2] ^ U(1)
    assert (np.abs(exact(arrays)[0] - expected) > off).mean() > 0.9


@pytest.mark.parametrize("tag", ["arm:neoverse-n1", "arm:neoverse-v1"])
@pytest.mark.parametrize("number", [2, 3])
def test_numbers_under_emulation(tag: str, number: int, tmp_path: Path) -> None:
    """Dot products of signed bytes, and of unsigned by signed ones."""
    tool("aarch64-linux-gnu-g++")
    region = CASES[number]
    arrays = region.arrays(seed=7)
    model = region.model()
    feeds = {value.name: array for value, array in zip(model.graph.input, arrays, strict=True)}
    compilation = compile_model(model, target=tag)
    assert "cpu.attention" in {choice.kernel for choice in compilation.model.choices}
    compilation.model.write(tmp_path / "attention.dsc")
    made = bundle(tmp_path / "attention.dsc", tmp_path / "attention", launcher(target(tag).backend()))
    (found,) = made.run(feeds, tmp_path)
    expected, off = exact(arrays)
    assert (np.abs(found - expected) <= off).all()


def test_rows_without_keys_have_no_weights() -> None:
    """Masked as a whole and guarded: the bytes of their weights are the zero point, and no other row changes."""
    needs_fours()
    guard = "s0 = Softmax<axis=-1>(pm) n = IsNaN(s0) o = Constant<value_float=0.0>() s = Where(n, o, s0)"
    text = CASES[1].text.replace("s = Softmax<axis=-1>(pm)", guard).replace("float[1,1,1,29] mask", "float[37,29] mask")
    region = replace(CASES[1], text=text)
    arrays = region.arrays(seed=9)
    arrays[3][4], arrays[3][6, 3:] = -np.inf, -np.inf
    found = space(region, "x86")
    assert in_fours(found.problem, found.machine)
    point = min(found.points(), key=found.estimate)
    (function,) = library([found.build(point)], machine())
    (expected,) = region.reference(arrays)
    output = tvm.runtime.tensor(np.full(expected.shape, 77, np.float32))
    function(*map(tvm.runtime.tensor, arrays), output)
    assert not output.numpy()[:, :, 4].any()
    largest = np.abs(arrays[2].astype(int)).max() * 0.017 / 255
    np.testing.assert_allclose(output.numpy(), expected, atol=1.01 * largest)


def test_the_inner_loops_multiply_fours() -> None:
    """Both, with nothing on the stack."""
    found = space(QuantizedAttention.of((1, 2, 128, 128, 64, 64), USUAL))
    best = min(found.points(), key=found.estimate)
    backend = target("x86:znver4").backend()
    code = backend.assembly(compiled_library({"attention": found.build(best).func}, backend))
    loops = X86.innermost_loops(code, "vpdpbusd")
    products = best.keys * best.vectors, best.queries * best.widths
    tiles = [loop for loop in loops if X86.count(loop, "vpdpbusd") in {n * steps for n in products for steps in (1, 2)}]
    assert len(tiles) >= 2
    assert not [line for loop in tiles for line in (*X86.on_stack(loop), *X86.calls(loop))]


def test_quotients_by_scales_become_products() -> None:
    x = tirx.Var("x", "float32")
    scale, other = (tirx.decl_buffer((), "float32", name) for name in ("scale", "other"))
    product = by_reciprocals_of(x / scale[()] + f32(1), {scale: tirx.Var("inverse", "float32")})
    assert isinstance(product, tirx.Add)
    assert isinstance(product.a, tirx.Mul)
    assert product.a.b.name == "inverse"
    stays = x / other[()]
    assert by_reciprocals_of(stays, {scale: x}).same_as(stays)
