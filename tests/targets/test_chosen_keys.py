"""Attention to blocks of keys that are chosen at run time: against ONNX Runtime, and which keys are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import tvm

from dsc.pipeline import compile_model
from dsc.targets import Refusal
from dsc.targets.cpu.attention import Attention
from dsc.targets.cpu.attention.factors import in_fours, in_pairs
from dsc.targets.cpu.attention.space import AttentionSpace
from dsc.targets.cpu.generic.kernel import GenericKernel
from dsc.targets.cpu.machine import Cpu
from tests.compiled import TextModel
from tests.kernels import machine
from tests.targets.chosen_keys import ADDED, BLOCK, ChosenAttention, expanded, inputs, run, sparsified, text
from tests.targets.quantized_attention import QuantizedAttention, exact
from tests.targets.regions import library
from tests.targets.test_attention import MACHINES
from tests.targets.weighted import check

GUARDED = "n = Softmax<axis=-1>(p) t = IsNaN(n) z = Constant<value=float {0}>() w = Where(t, z, n)"


def sized(b: int, s: int) -> dict[str, int]:
    """Free dims, and the number of blocks, which ONNX's inference does not tell."""
    return {"b": b, "s": s, f"s_m1s{BLOCK}": -(-s // BLOCK)}


SLICED = """n = Shape<start=1, end=2>(q) z = Constant<value=int64[1] {0}>() a = Constant<value=int64[1] {2}>()
    b = Constant<value=int64[1] {3}>() low = Constant<value=float {-3.4e38}>() rows = Slice(mask, z, n, a)
    cut = Slice(rows, z, n, b) pm = Where(cut, p, low) w = Softmax<axis=-1>(pm)"""
"""As exports of GPT-2 have it."""
CASES = [
    ChosenAttention(text((2, 137))),
    ChosenAttention(text((1, 320), "float[1,1,1,320] mask", ADDED)),
    ChosenAttention(text((2, 100), "float[2,1,100,100] mask", ADDED), options="keep=0.5"),
    ChosenAttention(text(("b", "s"), "float[b,1,1,s] mask", ADDED), sized(2, 161)),
    ChosenAttention(text(("b", "s")), sized(1, 1)),
    ChosenAttention(text(("b", "s")), sized(3, 64)),
    ChosenAttention(text((1, 75), keys=290)),
    ChosenAttention(text((1, 257)), options="keep=0.4 window=40"),
    ChosenAttention(text((1, 130), between=GUARDED), options="keep=0.4"),
    ChosenAttention("(float[3,97,16] q, float[3,16,97] k, float[3,97,40] v) => (float[3,97,40] y)"
                    "{ p = MatMul(q, k) w = Softmax<axis=-1>(p) y = MatMul(w, v) }", options="keep=0.5"),
]  # fmt: skip


def space_of(of: ChosenAttention, where: Cpu | None = None) -> AttentionSpace:
    found = Attention().match(of.workload(), where or machine())
    assert isinstance(found, AttentionSpace), found
    return found


def outputs(function: tvm.runtime.PackedFunc, arrays: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    result = tvm.runtime.tensor(np.full(shape, 77, np.float32))
    function(*map(tvm.runtime.tensor, arrays), result)
    return result.numpy()


@pytest.mark.parametrize("where", MACHINES, ids=lambda m: m.name)
def test_as_onnx_runtime_computes_what_is_exported(where: Cpu) -> None:
    check(Attention(), CASES, where)


def test_every_blocking() -> None:
    check(Attention(), CASES[:1], machine(), lambda space: list(space.points())[::3])


def test_the_generic_kernel_computes_the_body() -> None:
    check(GenericKernel(), [CASES[0], CASES[3], CASES[7]], machine())


def test_blocks_of_the_kernel_lie_within_those_that_choose() -> None:
    space = space_of(CASES[0])
    assert space.points()
    assert all(BLOCK % point.rows == BLOCK % point.keys == point.skipped == 0 for point in space.points())
    masked = space_of(CASES[1])
    assert masked.masking == Refusal("blocks of keys are chosen, none of which the mask removes")


def test_other_keys_are_not_read() -> None:
    """NaN in a block reaches the queries whose blocks have chosen it, and no others."""
    of = CASES[0]
    space = space_of(of)
    (code,) = library([space.build(min(space.points(), key=space.estimate))], machine())
    q, k, v, chosen = of.arrays()
    expected = outputs(code, [q, k, v, chosen], q.shape)
    k[:, 70], v[:, 70] = np.nan, np.nan
    found = outputs(code, [q, k, v, chosen], q.shape).reshape(2, 137, 2, 24).transpose(0, 2, 1, 3)
    seen = expanded(chosen, 137, 137)[..., 70]
    assert np.isnan(found[seen]).all()
    np.testing.assert_array_equal(found[~seen], expected.reshape(2, 137, 2, 24).transpose(0, 2, 1, 3)[~seen])
    assert 0 < seen.mean() < 1


def test_nothing_chosen() -> None:
    """As where a mask leaves nothing: zeros, where the model guards or has a mask."""
    of = CASES[1]
    space = space_of(of)
    (code,) = library([space.build(min(space.points(), key=space.estimate))], machine())
    *arrays, chosen = of.arrays()
    chosen[:, :, 3] = 0
    found = outputs(code, [*arrays, chosen], arrays[0].shape)
    assert not found[:, 96:128].any()
    np.testing.assert_allclose(found, of.reference([*arrays, chosen])[0], atol=1e-5)


def test_pairs() -> None:
    """Of bfloat16."""
    given = "(float[2,2,150,32] q, float[2,2,32,150] k, float[2,2,150,32] v) => (float[2,2,150,32] y)"
    body = "{ p = MatMul(q, k) w = Softmax<axis=-1>(p) y = MatMul(w, v) }"
    of = ChosenAttention(f"{given} {body}", options="keep=0.5")
    found = Attention().match(replace(of.workload(), multiplied_as="bfloat16"), machine("x86:znver4"))
    assert isinstance(found, AttentionSpace)
    assert in_pairs(found.problem, found.machine)
    if not machine().multiply_adds("bfloat16", "bfloat16", "float32"):
        pytest.skip("this processor does not multiply bfloat16")
    (code,) = library([found.build(min(found.points(), key=found.estimate))], machine())
    arrays = [array / np.float32(3) if array.dtype == np.float32 else array for array in of.arrays()]
    # factors are rounded to 8 bits
    np.testing.assert_allclose(outputs(code, arrays, arrays[0].shape), of.reference(arrays)[0], atol=2e-2)


def test_fours_of_bytes() -> None:
    """Weights that are quantized: that of a key that is left out is the zero point, which adds nothing."""
    zeros = [np.uint8(zero) for zero in (128, 121, 130, 3)]
    of = ChosenAttention(QuantizedAttention.of((1, 2, 161, 161, 20, 40), zeros).text, quantized=True)
    space = space_of(of, machine("x86:znver4"))
    assert in_fours(space.problem, space.machine)
    if not in_fours(space.problem, machine()):
        pytest.skip("this processor does not multiply four bytes at once")
    names = [value.name for value in of.model().graph.input]
    plain = QuantizedAttention.of((1, 2, 161, 161, 20, 40), zeros)
    given = dict(zip([value.name for value in plain.model().graph.input], plain.arrays(), strict=True))
    chosen = of.arrays()[-1]
    (code,) = library([space.build(min(space.points(), key=space.estimate))], space.machine)
    found = outputs(code, [{**given, "chosen": chosen}[name] for name in names], (1, 2, 161, 40))
    given["mask"] = given["mask"] + np.where(expanded(chosen, 161, 161), 0, -np.inf)
    expected, off = exact(list(given.values()))
    assert (np.abs(found - expected) <= off).all()


@pytest.mark.parametrize("options", ["keep=0.3", "keep=0.5 window=60"])
@pytest.mark.parametrize("mask", ["", "float[b,1,1,s] mask", "float[1,1,s,s] mask", "bool[1,1,256,256] mask"])
def test_compiled_whole(mask: str, options: str) -> None:
    """The choice too: lengths are free, one mask is cut out of a larger one. Estimates of random data are no ties."""
    between = SLICED if mask.startswith("bool") else ADDED
    of = text(("b", "s"), mask, between) if mask else text(("b", "s"))
    passes = f"canonicalize,fuse,sparsify-attention{{{options}}}"
    module = compile_model(TextModel(of).proto(), passes=passes).model.load(1)
    graph = sparsified(of, options)
    for batch, length in ((2, 230), (1, 64), (1, 7), (3, 129)):
        feeds = inputs(batch, length, seed=length)
        if mask.startswith("float[b"):
            left = np.arange(length) < np.array([length, max(1, length // 2), 3])[:batch, None, None, None]
            feeds["mask"] = np.where(left, np.float32(0), np.float32(-1e4))
        elif mask.startswith("bool"):
            feeds["mask"] = np.tri(256, dtype=bool)[None, None]
        elif mask:
            feeds["mask"] = np.where(np.tri(length, dtype=bool), np.float32(0), np.float32(-1e4))[None, None]
        expected, _ = run(graph, feeds)
        (found,) = module.run(feeds).values()
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_the_estimate_is_of_the_keys_that_are_kept() -> None:
    few, many = (space_of(ChosenAttention(text((1, 2048)), options=f"keep={keep}")) for keep in (0.1, 0.9))
    times = [min(map(space.estimate, space.points())) for space in (few, many)]
    assert 5 < times[1] / times[0] < 9
