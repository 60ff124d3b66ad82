"""Attention against ONNX Runtime: layouts of heads, masks, ragged and symbolic lengths."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.targets import Refusal
from dsc.targets.cpu.attention import Attention
from dsc.targets.cpu.attention.space import AttentionSpace
from dsc.targets.cpu.machine import Cpu
from tests.compiled import TextModel, kernels, run
from tests.compiled import check as check_model
from tests.kernels import machine
from tests.targets.regions import Region
from tests.targets.weighted import Weighted, check

AVX2 = machine("x86:haswell")
MACHINES = [machine(), *([AVX2] if machine().has(*AVX2.features) else [])]

SPLIT = """
    heads = Constant<value_ints=[{b}, {s}, {h}, {d}]>() joined = Constant<value_ints=[{b}, {s}, {hd}]>()
    q4 = Reshape(q, heads) k4 = Reshape(k, heads) v4 = Reshape(v, heads)
    qt = Transpose<perm=[0,2,1,3]>(q4) kt = Transpose<perm=[0,2,3,1]>(k4) vt = Transpose<perm=[0,2,1,3]>(v4)
"""
JOIN = "o = MatMul(w, vt) ot = Transpose<perm=[0,2,1,3]>(o) y = Reshape(ot, joined)"


def heads(lengths: tuple[int | str, int | str, int, int], between: str, mask: str = "", **sizes: int) -> Weighted:
    """As exporters of BERT write it: (batch, sequence, heads, size); `between` makes w of the product p."""
    b, s, h, d = lengths
    flow = f"float[{b},{s},{h * d}]"
    static = {name: 0 if isinstance(value, str) else value for name, value in (("b", b), ("s", s))}
    split = SPLIT.format(**static, h=h, d=d, hd=h * d)
    body = f"{split} p = MatMul(qt, kt) {between} {JOIN}"
    parameters = f"{flow} q, {flow} k, {flow} v" + (f", {mask}" if mask else "")
    return Weighted(f"({parameters}) => ({flow} y) {{ {body} }}", sizes, kind="attention")


SCALED = "c = Constant<value_float=0.17>() ps = Mul(p, c) w = Softmax<axis=-1>(ps)"
MASKED = "c = Constant<value_float=8.0>() ps = Div(p, c) pm = Add(ps, mask) w = Softmax<axis=-1>(pm)"
WHERE = "low = Constant<value_float=-3e38>() pm = Where(mask, p, low) w = Softmax<axis=-1>(pm)"
GUARDED = (
    "pm = Add(p, mask) w0 = Softmax<axis=-1>(pm) bad = IsNaN(w0) zero = Constant<value_float=0.0>()"
    "w = Where(bad, zero, w0)"
)

CASES = [
    heads((1, 32, 2, 16), SCALED),
    heads((2, 37, 3, 24), MASKED, "float[2,1,1,37] mask"),
    heads((1, 1, 2, 8), SCALED),
    heads((1, 3, 2, 5), SCALED),
    heads((1, 65, 1, 40), MASKED, "float[1,1,65,65] mask"),
    heads(("b", "s", 2, 32), MASKED, "float[b,1,1,s] mask", b=2, s=19),
    heads(("b", "s", 2, 32), MASKED, "float[b,1,1,s] mask", b=1, s=1),
    heads(("b", "s", 3, 8), WHERE, "bool[1,1,s,s] mask", b=2, s=70),
    heads((2, "s", 2, 16), MASKED, "float[1,1,t,t] mask", s=21, t=21),
    heads((1, 20, 2, 16), GUARDED, "float[1,1,20,20] mask"),
    # heads apart from the beginning; other lengths of keys; values of another size
    Weighted(
        "(float[3,17,16] q, float[3,16,29] k, float[3,29,40] v) => (float[3,17,40] y)"
        "{ p = MatMul(q, k) w = Softmax<axis=-1>(p) y = MatMul(w, v) }"
    ),
    # one tensor for q, k and v; heads of keys shared by several queries
    Weighted(
        """(float[2,21,3,2,16] x) => (float[2,21,32] y) {
        axis = Constant<value_ints=[2]>() joined = Constant<value_ints=[2,21,32]>()
        q5, k5, v5 = Split<axis=2, num_outputs=3>(x)
        q4 = Squeeze(q5, axis) k4 = Squeeze(k5, axis) v4 = Squeeze(v5, axis)
        qt = Transpose<perm=[0,2,1,3]>(q4) kt = Transpose<perm=[0,2,3,1]>(k4)
        vt = Transpose<perm=[0,2,1,3]>(v4) p = MatMul(qt, kt) w = Softmax<axis=-1>(p) o = MatMul(w, vt)
        ot = Transpose<perm=[0,2,1,3]>(o) y = Reshape(ot, joined) }"""
    ),
    Weighted(
        """(float[1,4,9,16] q, float[1,1,16,9] k, float[1,1,9,16] v) => (float[1,4,9,16] y)
        { p = MatMul(q, k) w = Softmax<axis=3>(p) y = MatMul(w, v) }"""
    ),
]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_attention(machine: Cpu):
    check(Attention(), CASES, machine)


def test_any_point_is_right():
    check(Attention(), CASES[1:2], MACHINES[0], lambda space: list(space.points())[::5])


SPECIAL = """(float[b,2,s,8] q, float[b,2,t,8] k, float[b,2,t,5] v, float[s,t] mask) => (float[b,2,s,5] y) {{
    kt = Transpose<perm=[0,1,3,2]>(k) p = MatMul(q, kt) ps = Mul(p, scale) pm = Add(ps, mask) pn = Add(pm, shift)
    w = Softmax(pn) {tail} }}"""
GUARD = "bad = IsNaN(w) g = Where(bad, zero, w) y = MatMul(g, v)"


def special_values() -> list[dict[str, np.ndarray]]:
    """Rows masked as a whole, and NaN and infinities in each of q, k and v; no keys at all."""
    random = np.random.default_rng(11)

    def arrays(keys: int) -> dict[str, np.ndarray]:
        shapes = {"q": (2, 2, 9, 8), "k": (2, 2, keys, 8), "v": (2, 2, keys, 5), "mask": (9, keys)}
        found = {name: random.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
        found["mask"][3], found["mask"][4, 2:] = -np.inf, -np.inf
        return found

    feeds = [arrays(11) for _ in range(5)]
    feeds[1]["q"][0, 0, 1] = np.nan
    feeds[2]["q"][0, 0, 1] = np.inf
    feeds[3]["k"][0, 1, 5] = np.inf
    feeds[4]["v"][1, 1, 2], feeds[4]["v"][0, 0, 7] = np.nan, -np.inf
    return [*feeds, arrays(0)]


@pytest.mark.parametrize(("tail", "guarded"), [(GUARD, True), ("y = MatMul(w, v)", False)], ids=["guarded", "bare"])
def test_rows_without_probabilities(tail: str, guarded: bool):
    """They are NaN, or 0 where the model says so: the guard costs no pass over the scores and is not dropped."""
    numbers = {"scale": 0.25, "shift": 1.5, "zero": 0.0}
    model = TextModel(SPECIAL.format(tail=tail), {name: np.float32(value) for name, value in numbers.items()})
    feeds = special_values()
    compilation = check_model(model, *feeds, tolerance=1e-4)
    assert kernels(compilation) == ["cpu.attention"]
    masked = run(compilation, feeds[0])[0][:, :, 3]
    assert np.array_equal(masked, np.full_like(masked, 0 if guarded else np.nan), equal_nan=True)


def test_a_guard_is_part_of_the_softmax():
    found = Attention().match(CASES[9].workload(), MACHINES[0])
    assert isinstance(found, AttentionSpace)
    assert found.problem.guarded
    assert found.problem.weights is found.problem.probabilities


def test_refusals_say_why():
    relu = heads((1, 8, 2, 4), "w = Relu(p)")
    moved = heads((1, 8, 2, 4), "pt = Transpose<perm=[0,1,3,2]>(p) w = Softmax<axis=-1>(pt)")
    vector = Weighted(
        "(float[16] q, float[16,9] k, float[9,8] v) => (float[8] y){ p = MatMul(q, k) w = Softmax(p) y = MatMul(w, v) }"
    )
    assert _reason(vector) == "a vector operand"
    assert _reason(relu) == "2 products, 0 softmaxes, 1 outputs"
    assert "moves elements" in _reason(moved)


def _reason(region: Region) -> str:
    found = Attention().match(region.workload(), MACHINES[0])
    assert isinstance(found, Refusal)
    return found.reason
