"""Keys that a mask leaves no weight: which attentions skip them, and that no bit of the result is another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import tvm
from tvm import tirx
from tvm.tirx.script.builder import ir as T

from dsc.pipeline import compile_model
from dsc.targets import Implementation, Refusal
from dsc.targets.cpu.attention import Attention
from dsc.targets.cpu.attention.code import Block, Writer
from dsc.targets.cpu.attention.masking import Masking
from dsc.targets.cpu.attention.space import AttentionSpace
from dsc.targets.cpu.machine import Cpu
from dsc.targets.tir.loops import function
from tests.compiled import TextModel
from tests.kernels import machine
from tests.targets.half_attention import HalfAttention
from tests.targets.regions import Region, library
from tests.targets.test_attention import GUARDED, MACHINES, MASKED, SCALED, WHERE, heads
from tests.targets.weighted import Weighted

Arrays = dict[str, np.ndarray]
LOWEST = float(np.finfo(np.float32).min)
BATCH, QUERIES, KEYS, HEADS, DEPTH = 3, 70, 151, 2, 24
SIZES = {"b": BATCH, "s": QUERIES, "t": KEYS}


def region(between: str, mask: str, static: bool = True) -> Weighted:
    """Queries and keys of other lengths; `between` makes w of the product p and the mask."""
    text = f"(float[b,{HEADS},s,{DEPTH}] q, float[b,{HEADS},{DEPTH},t] k, float[b,{HEADS},t,{DEPTH}] v, {mask})"
    text += f" => (float[b,{HEADS},s,{DEPTH}] y) {{ p = MatMul(q, k) {between} y = MatMul(w, v) }}"
    if static:
        for name, size in SIZES.items():
            text = (
                text.replace(f"[{name},", f"[{size},")
                .replace(f",{name},", f",{size},")
                .replace(f",{name}]", f",{size}]")
            )
    return Weighted(text, {} if static else SIZES, kind="attention")


def space_of(of: Region, tag: Cpu | None = None) -> AttentionSpace:
    found = Attention().match(of.workload(), tag or machine())
    assert isinstance(found, AttentionSpace), found
    return found


def both(of: Region, where: Cpu) -> tuple[tvm.runtime.PackedFunc, tvm.runtime.PackedFunc]:
    """The code that skips, and that of the same point which does not."""
    space = space_of(of, where)
    point = min(space.points(), key=space.estimate)
    assert point.skipped
    skipping, whole = library([space.build(point), space.build(replace(point, skipped=0))], where)
    return skipping, whole


def outputs(function: tvm.runtime.PackedFunc, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    result = tvm.runtime.tensor(np.full(shape, 77, np.float32))
    function(*map(tvm.runtime.tensor, arrays.values()), result)
    return result.numpy()


def arrays(mask: np.ndarray, seed: int = 0) -> Arrays:
    random = np.random.default_rng(seed)
    shapes = {"q": (QUERIES, DEPTH), "k": (DEPTH, KEYS), "v": (KEYS, DEPTH)}
    given = {name: random.standard_normal((BATCH, HEADS, *shape), np.float32) for name, shape in shapes.items()}
    return {**given, "mask": np.ascontiguousarray(mask)}


# which keys of each batch and query are kept


def _padded(right: bool, lengths: tuple[int, ...] = (5, KEYS, 64)) -> np.ndarray:
    kept = np.arange(KEYS) < np.array(lengths)[:, None, None, None]
    return np.broadcast_to(kept if right else kept[..., ::-1], (BATCH, 1, QUERIES, KEYS))


def _places() -> tuple[np.ndarray, np.ndarray]:
    return np.arange(QUERIES)[:, None] + KEYS - QUERIES, np.arange(KEYS)


def _windows() -> np.ndarray:
    at, key = _places()
    return np.broadcast_to((key <= at) & (key > at - 20), (BATCH, 1, QUERIES, KEYS))


def _rows_without_keys() -> np.ndarray:
    kept = _padded(True).copy()
    kept[0, 0, 7], kept[2] = False, False
    return kept


def _causal() -> np.ndarray:
    key, at = np.arange(KEYS), np.arange(QUERIES)[:, None]
    return np.broadcast_to(key <= at, (BATCH, 1, QUERIES, KEYS))


def _holes() -> np.ndarray:
    return np.broadcast_to(np.random.default_rng(3).random((BATCH, 1, 1, KEYS)) < 0.02, (BATCH, 1, QUERIES, KEYS))


KINDS: dict[str, Callable[[], np.ndarray]] = {
    "ones": lambda: np.ones((BATCH, 1, QUERIES, KEYS), bool),
    "none": lambda: np.zeros((BATCH, 1, QUERIES, KEYS), bool),
    "right": lambda: _padded(True),
    "left": lambda: _padded(False),
    "holes": _holes,
    "rows": _rows_without_keys,
    "causal": _causal,
    "windows": _windows,
}
ADDED = region(
    "c = Constant<value_float=5.0>() ps = Div(p, c) pm = Add(ps, mask) w = Softmax<axis=-1>(pm)", "float[b,1,s,t] mask"
)
CHOSEN = region(WHERE, "bool[b,1,s,t] mask")


def removing(low: float) -> list[np.ndarray]:
    return [np.where(kind(), np.float32(0), np.float32(low)) for kind in KINDS.values()]


@pytest.mark.parametrize("where", MACHINES, ids=lambda m: m.name)
def test_no_bit_is_another(where: Cpu) -> None:
    """Of masks that are added, in all ways to write "removed", and scores that outgrow them."""
    skipping, whole = both(ADDED, where)
    names = [value.name for value in ADDED.model().graph.input]
    session = ADDED.session()
    for low in (-1e4, -np.inf, LOWEST, -1e9, -120.0, -3.0):
        for seed, mask in enumerate(removing(low)):
            for scale in (1.0, 1e4, 1e30):
                given = arrays(mask, seed)
                given["q"] *= np.float32(scale)
                found, expected = (outputs(f, given, given["q"].shape) for f in (skipping, whole))
                np.testing.assert_array_equal(found, expected)
                if scale == 1.0:
                    (reference,) = session.run(None, {name: given[name] for name in names})
                    np.testing.assert_allclose(found, reference, atol=1e-5, rtol=1e-4, equal_nan=True)


def test_masks_that_choose() -> None:
    skipping, whole = both(CHOSEN, machine())
    for seed, kind in enumerate(KINDS.values()):
        given = arrays(kind(), seed)
        found, expected = (outputs(f, given, given["q"].shape) for f in (skipping, whole))
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_allclose(found, CHOSEN.reference(list(given.values()))[0], atol=1e-5, rtol=1e-4)


def test_biases_are_no_masks() -> None:
    """Small numbers, and those that grow with the distance, which remove what is far only where that is far enough."""
    skipping, whole = both(ADDED, machine())
    at, key = _places()
    for steepness in (0.01, 1.0, 5.0, 300.0):
        mask = np.broadcast_to(-steepness * np.abs(at - key), (BATCH, 1, QUERIES, KEYS)).astype(np.float32)
        given = arrays(mask)
        found, expected = (outputs(f, given, given["q"].shape) for f in (skipping, whole))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("which", ["q", "k", "v"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 3.4e38])
def test_special_values_of_removed_keys(which: str, value: float) -> None:
    """A weight of 0 times infinity is NaN: it is so where the key is removed, too."""
    skipping, whole = both(ADDED, machine())
    for low in (-1e4, -np.inf):
        given = arrays(np.where(_padded(True), np.float32(0), np.float32(low)))
        place = {"q": (0, 1, 3, 2), "k": (0, 1, 2, KEYS - 3), "v": (0, 1, KEYS - 3, 2)}[which]
        given[which][place] = value
        found, expected = (outputs(f, given, given["q"].shape) for f in (skipping, whole))
        np.testing.assert_array_equal(found, expected)
        assert which == "q" or np.isfinite(value) or np.isnan(found[0, 1]).any()


class Present(Writer):
    """Writes 1 to where the first query of a task and a key meet, if the task computes that key."""

    def task(self, block: Block) -> None:
        with self.present.each() as key:
            place = self.problem.place(block.at, block.first, key)
            T.buffer_store(self.output, tirx.const(1.0, "float32"), [place])


def test_what_is_computed() -> None:
    """Blocks with a key that is left, and all where that cannot be known."""
    wide = replace(ADDED, text=ADDED.text.replace(f"{KEYS},{DEPTH}] v", f"{KEYS},{KEYS}] v"))
    wide = replace(wide, text=wide.text.replace(f"{QUERIES},{DEPTH}] y", f"{QUERIES},{KEYS}] y"))
    space = space_of(wide)
    point = replace(min(space.points(), key=space.estimate), vectors=1)
    assert isinstance(space.masking, Masking)
    with function() as made:
        Present(space.problem, point, space.machine, space.masking).write()
    (code,) = library([Implementation(made.get())], space.machine)
    size, rows = point.skipped, point.rows

    def computed(mask: np.ndarray, change: Callable[[Arrays], None] = lambda _: None) -> np.ndarray:
        given = arrays(mask)
        given["v"] = np.ones((BATCH, HEADS, KEYS, KEYS), np.float32)
        change(given)
        result = tvm.runtime.tensor(np.zeros((BATCH, HEADS, QUERIES, KEYS), np.float32))
        code(*map(tvm.runtime.tensor, given.values()), result)
        return result.numpy()[:, :, ::rows] == 1

    def expected(kept: np.ndarray) -> np.ndarray:
        """Of each task, the whole blocks around what any of its queries keeps."""
        tasks = [kept[:, :, first : first + rows].any(axis=2) for first in range(0, QUERIES, rows)]
        blocks = [np.stack(tasks, 2)[..., first : first + size].any(-1) for first in range(0, KEYS, size)]
        return np.broadcast_to(np.stack(blocks, -1).repeat(size, -1)[..., :KEYS], (BATCH, HEADS, len(tasks), KEYS))

    for low in (-1e4, -np.inf, LOWEST):
        for name in ("right", "left", "causal", "windows", "ones", "holes"):
            kept = KINDS[name]()
            found = computed(np.where(kept, np.float32(0), np.float32(low)))
            np.testing.assert_array_equal(found, expected(kept), err_msg=name)
    assert not computed(removing(LOWEST)[2]).all()
    assert computed(removing(LOWEST)[1]).all()  # no query has any key
    assert computed(removing(-20.0)[2]).all()

    def spoil(given: Arrays) -> None:
        given["v"][0, 1, KEYS - 1, 0], given["k"][2, 0, 3, KEYS - 1] = np.inf, np.nan
        given["q"][0, 0] *= 1e6

    found = computed(removing(-1e4)[2], spoil)
    assert found[0].all()
    assert found[2, 0].all()
    assert not found[2, 1].all()


def test_free_sizes() -> None:
    """Of batch, queries and keys, one of a single block too."""
    free = region(MASKED, "float[b,1,1,t] mask", static=False)
    skipping, whole = both(free, machine())
    for keys in (1, 20, 97, KEYS):
        given = arrays(np.where(_padded(True), np.float32(0), np.float32(-1e4))[:, :, :1])
        given = {name: array[..., :keys] if name in ("k", "mask") else array for name, array in given.items()}
        given = {
            name: np.ascontiguousarray(array[:, :, :keys] if name == "v" else array) for name, array in given.items()
        }
        found, expected = (outputs(f, given, given["q"].shape) for f in (skipping, whole))
        np.testing.assert_array_equal(found, expected)


def test_guarded_rows_and_two_masks() -> None:
    guarded = region(GUARDED, "float[b,1,s,t] mask")
    two = region("pb = Add(p, mask) pm = Add(pb, mask) w = Softmax<axis=-1>(pm)", "float[b,1,s,t] mask")
    for of in (guarded, two):
        skipping, whole = both(of, machine())
        for seed, mask in enumerate([*removing(-np.inf), *removing(LOWEST)]):
            given = arrays(mask, seed)
            found, expected = (outputs(f, given, given["q"].shape) for f in (skipping, whole))
            np.testing.assert_array_equal(found, expected)


def test_pairs() -> None:
    """Of bfloat16, in blocks of an even number of keys."""
    if not machine().multiply_adds("bfloat16", "bfloat16", "float32"):
        pytest.skip("this processor does not multiply bfloat16")
    even = heads((3, 150, 2, 32), MASKED, "float[3,1,150,150] mask")
    of = HalfAttention(even.text, even.sizes, multiplied_as="bfloat16")
    skipping, whole = both(of, machine())
    random = np.random.default_rng(5)
    tokens = [random.standard_normal((3, 150, 64), np.float32) for _ in range(3)]
    kept = np.arange(150) < np.array([6, 150, 90])[:, None, None, None]
    causal = np.arange(150) <= np.arange(150)[:, None]
    for chosen in (kept, causal, kept & causal, random.random((3, 1, 150, 150)) < 0.01):
        for low in (-1e4, -np.inf, LOWEST):
            mask = np.where(np.broadcast_to(chosen, (3, 1, 150, 150)), np.float32(0), np.float32(low))
            given = dict(zip("qkvm", [*tokens, mask], strict=True))
            found, expected = (outputs(f, given, (3, 150, 64)) for f in (skipping, whole))
            np.testing.assert_array_equal(found, expected)


def test_what_the_analysis_knows() -> None:
    """The slope of scores in the product, and whose masks there are."""
    plain = space_of(heads((2, 80, 2, 16), MASKED, "float[2,1,1,80] mask")).masking
    assert isinstance(plain, Masking)
    assert (plain.slope, plain.axes) == (1 / 8, (True, False, False))
    causal = space_of(heads((2, 80, 2, 16), WHERE, "bool[1,1,80,80] mask")).masking
    assert isinstance(causal, Masking)
    assert (causal.slope, causal.axes) == (1, (False, False, True))
    capped = (
        "t = Constant<value_float=0.1>() u = Mul(p, t) h = Tanh(u) c = Constant<value_float=-50.0>() ps = Mul(h, c)"
    )
    soft = space_of(heads((2, 80, 2, 16), f"{capped} pm = Add(ps, mask) w = Softmax<axis=-1>(pm)", "float[80,80] mask"))
    assert isinstance(soft.masking, Masking)
    assert soft.masking.slope == pytest.approx(5)


def test_refusals_say_why() -> None:
    """And then no point skips."""
    mask = "float[2,1,1,80] mask"
    lengths = (2, 80, 2, 16)
    of_scale = "ps = Mul(p, mask) w = Softmax<axis=-1>(ps)"
    of_curve = "pe = Exp(p) pm = Add(pe, mask) w = Softmax<axis=-1>(pm)"
    after = "pm = Add(p, mask) w0 = Softmax<axis=-1>(pm) c = Constant<value_float=0.5>() w = Mul(w0, c)"
    holes = (
        "pm = Add(p, mask) w0 = Softmax<axis=-1>(pm) c = Constant<value_float=0.0>() some = Cast<to=9>(mask)"
        "w = Where(some, c, w0)"
    )
    reasons = [
        (heads(lengths, SCALED), "no mask: all keys of a query are treated alike"),
        (heads(lengths, of_scale, mask), "onnx.Mul between product and softmax"),
        (heads(lengths, of_curve, mask), "onnx.Exp between product and softmax"),
        (heads(lengths, after, mask), "probabilities are changed after the softmax"),
        (heads(lengths, holes, mask), "probabilities are changed after the softmax"),
    ]
    for of, reason in reasons:
        space = space_of(of)
        assert space.masking == Refusal(reason)
        assert not any(point.skipped for point in space.points())
    few = space_of(Weighted(
        "(float[2,8,32] q, float[2,32,256] k, float[2,256,32] v, float[2,1,256] mask) => (float[2,8,32] y)"
        "{ p = MatMul(q, k) pm = Add(p, mask) w = Softmax<axis=-1>(pm) y = MatMul(w, v) }"
    ))  # fmt: skip
    assert isinstance(few.masking, Masking)
    assert not any(point.skipped for point in few.points())


def test_the_report_says_so() -> None:
    """And the operator Attention has its causal mask skipped too."""
    model = TextModel("(float[1,2,96,16] q, float[1,2,96,16] k, float[1,2,96,16] v) => (float[1,2,96,16] y)"
                      "{ y = Attention<is_causal=1>(q, k, v) }", opset=23)  # fmt: skip
    compilation = compile_model(model.proto())
    (choice,) = [choice for choice in compilation.model.choices if choice.kernel == "cpu.attention"]
    assert "skipped=0" not in choice.point
    random = np.random.default_rng(9)
    feeds = {name: random.standard_normal((1, 2, 96, 16), np.float32) for name in "qkv"}
    (found,) = compilation.model.load(1).run(feeds).values()
    scores = feeds["q"] @ feeds["k"].swapaxes(-1, -2) / 4 + np.where(np.tri(96, dtype=bool), 0, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    np.testing.assert_allclose(found, weights / weights.sum(-1, keepdims=True) @ feeds["v"], atol=1e-5)
