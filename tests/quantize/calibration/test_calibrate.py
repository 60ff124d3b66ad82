from __future__ import annotations

import logging
from collections.abc import Iterator

import ml_dtypes
import numpy as np
import pytest

from dsc.errors import UsageError
from dsc.quantize.calibration import Range, calibrate, channel_maxima
from tests.compiled import TextModel
from tests.quantize.tapped import tapped

Feed = dict[str, np.ndarray]
CONV = TextModel(
    "(float[n,3,h,7] x, float[n,5,h,7] r) => (float[n,5,h,7] y)"
    " { c = Conv<pads=[1,1,1,1]>(x, w) s = Add(c, r) y = Relu(s) k = Shape(s) }",
    {"w": np.random.default_rng(0).standard_normal((5, 3, 3, 3)).astype(np.float32)},
)
COMPUTED = ["c", "s", "y"]


def feeds(count: int, height: int = 5) -> list[Feed]:
    random = np.random.default_rng(count + height)
    shapes = {"x": (2, 3, height, 7), "r": (2, 5, height, 7)}
    draw = [
        {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(count)
    ]
    return [{name: array * (i + 1) for name, array in feed.items()} for i, feed in enumerate(draw)]


def expected(given: list[Feed]) -> dict[str, list[np.ndarray]]:
    proto = CONV.proto()
    del proto.graph.node[-1]
    return {**{name: [feed[name] for feed in given] for name in ("x", "r")}, **tapped(proto, COMPUTED, given)}


def test_extremes_are_those_of_all_samples() -> None:
    given = feeds(3)
    found = calibrate(CONV.proto(), iter(given))["minmax"]
    arrays = expected(given)
    assert sorted(found) == ["c", "r", "s", "w", "x", "y"]  # of k, integers, there is no range
    for name, samples in arrays.items():
        assert found[name] == Range(min(map(np.min, samples)), max(map(np.max, samples)))
    assert found["w"] == Range(CONV.weights["w"].min(), CONV.weights["w"].max())


def test_one_pass_serves_all_calibrators_and_tells_of_its_progress() -> None:
    given, told, read = feeds(120, 1), [], 0

    def once() -> Iterator[Feed]:
        nonlocal read
        for feed in given:
            read += 1
            yield feed

    found = calibrate(CONV.proto(), once(), ("minmax", "moving-average"), ["y", "c"], on_progress=told.append)
    assert told == list(range(1, 121))
    assert read == 120
    assert list(found) == ["minmax", "moving-average"]
    assert [sorted(ranges) for ranges in found.values()] == [["c", "y"], ["c", "y"]]
    highs = [float(array.max()) for array in expected(given)["c"]]
    average = np.mean(highs[:100])
    for high in highs[100:]:
        average = 0.99 * average + 0.01 * high
    np.testing.assert_allclose(found["moving-average"]["c"].high, average, rtol=1e-6)


def test_a_later_sample_may_be_larger() -> None:
    given = feeds(1, 2) + feeds(2, 9)
    found = calibrate(CONV.proto(), given)["minmax"]
    assert found["y"].high == max(array.max() for array in expected(given)["y"])


def test_each_segment_reads_what_those_before_it_made(monkeypatch: pytest.MonkeyPatch) -> None:
    given = feeds(2)
    whole = calibrate(CONV.proto(), given)
    monkeypatch.setattr("dsc.check.intermediates._BUDGET", 1)  # each node by itself
    assert calibrate(CONV.proto(), given) == whole


def test_values_of_loops_and_of_branches_stay_inside_and_read_what_is_around_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dsc.check.intermediates._BUDGET", 1)
    text = """(float[4] x, bool c) => (float[4] y)
        { a = Exp(x)
          b = If(c) <then_branch = t () => (float[4] p) { p = Neg(a) },
                     else_branch = e () => (float[4] q) { q = Identity(x) }>
          y = Mul(b, a) }"""
    feed = {"x": np.array([-1, 0, 1, 2], np.float32), "c": np.array(True)}
    found = calibrate(TextModel(text).proto(), [feed])["minmax"]
    assert sorted(found) == ["a", "b", "x", "y"]
    np.testing.assert_allclose([found["b"].low, found["y"].low], [-np.exp(2), -np.exp(4)], rtol=1e-6)


@pytest.mark.parametrize(
    ("type_", "dtype"), [("float16", np.float16), ("double", np.float64), ("bfloat16", ml_dtypes.bfloat16)]
)
def test_other_floats_have_ranges_too(type_: str, dtype: type) -> None:
    array = np.array([[-2.5, 0.125, 7]]).astype(dtype)
    model = TextModel(f"({type_}[1,3] x) => ({type_}[1,3] y) {{ y = Reshape(x, s) }}", {"s": np.array([1, 3])})
    assert calibrate(model.proto(), [{"x": array}])["minmax"] == {"x": Range(-2.5, 7), "y": Range(-2.5, 7)}


def test_a_constant_tensor_has_one_number_and_an_empty_one_no_range() -> None:
    model = TextModel("(float[n,3] x) => (float[n,3] y, float[m,3] z) { y = Mul(x, o) z = Slice(x, b, b) }",
                      {"o": np.float32(0), "b": np.array([0])})  # fmt: skip
    found = calibrate(model.proto(), [{"x": np.ones((2, 3), np.float32)}])["minmax"]
    assert found == {"x": Range(1, 1), "y": Range(0, 0), "o": Range(0, 0)}


def test_infinities_of_masks_are_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    model = TextModel("(float[n] x, bool[n] m) => (float[n] y) { y = Where(m, x, i) }", {"i": np.float32(-np.inf)})
    feed = {"x": np.array([1, 2, 3], np.float32), "m": np.array([True, False, True])}
    with caplog.at_level(logging.WARNING):
        found = calibrate(model.proto(), [feed, feed])["minmax"]
    assert found == {"x": Range(1, 3), "y": Range(1, 3)}
    assert [record.message for record in caplog.records] == [
        "tensor 'y' has infinities, as masks do: its range is that of its finite numbers"
    ]


def broken(name: str, value: float) -> list[Feed]:
    given = feeds(3)
    given[1][name][1, 2, 3, 4] = value
    return given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "there are no samples to calibrate with"),
        (broken("x", np.nan), r"sample 2: input 'x' has nan at \[1, 2, 3, 4\]: calibration data must be finite"),
        (broken("r", -np.inf), r"sample 2: input 'r' has -inf at \[1, 2, 3, 4\]"),
        ([{"x": feeds(1)[0]["x"]}], r"sample 1: inputs: missing r\. The model takes x: float32\[n, 3, h, 7\], r"),
        ([{**feeds(1)[0], "x": np.zeros((2, 3, 5, 7))}], r"sample 1: input x: float32.* was given float64"),
        ([{**feeds(1)[0], "x": np.zeros((2, 4, 5, 7), np.float32)}], r"dim 1 must be 3, was given"),
    ],
    ids=["empty", "nan", "inf", "missing", "dtype", "shape"],
)  # fmt: skip
def test_data_that_cannot_be_used_is_said(given: list[Feed], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        calibrate(CONV.proto(), given)


def test_a_nan_that_the_model_computes_is_said() -> None:
    model = TextModel("(float[2] x) => (float[2] z) { y = Sqrt(x) z = Neg(y) }")
    good, bad = ({"x": np.array([1, x], np.float32)} for x in (4, -4))
    with pytest.raises(UsageError, match="sample 2: tensor 'y' has a NaN"):
        calibrate(model.proto(), [good, bad])
    assert calibrate(model.proto(), [good, bad], tensors=["x"])["minmax"] == {"x": Range(-4, 4)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"calibrators": ["minmaks"]}, "no calibrator 'minmaks'; is it minmax"),
        ({"tensors": ["cc"]}, "computes no tensor 'cc'; near are c"),
        ({"tensors": ["k"]}, "tensor 'k' is no float, and has no range"),
    ],
)
def test_names_that_are_not_there_are_said(arguments: dict[str, list[str]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        calibrate(CONV.proto(), feeds(1), **arguments)


@pytest.mark.parametrize("axis", [1, -3])
def test_the_maxima_of_channels(axis: int) -> None:
    given = feeds(3)
    found = channel_maxima(CONV.proto(), given, {"s": axis, "x": 3, "w": 0})
    arrays = expected(given)
    np.testing.assert_array_equal(found["s"], np.max([np.abs(a).max((0, 2, 3)) for a in arrays["s"]], axis=0))
    np.testing.assert_array_equal(found["x"], np.max([np.abs(a).max((0, 1, 2)) for a in arrays["x"]], axis=0))
    np.testing.assert_array_equal(found["w"], np.abs(CONV.weights["w"]).max((1, 2, 3)))


def test_an_axis_that_is_not_there_is_said() -> None:
    with pytest.raises(UsageError, match="sample 1: axis 4 is asked for of a tensor of 4 dims"):
        channel_maxima(CONV.proto(), feeds(1), {"s": 4})
    with pytest.raises(UsageError, match="sample 2: axis 2 has 2 channels in one sample, 9 in another"):
        channel_maxima(CONV.proto(), feeds(1, 2) + feeds(1, 9), {"s": 2})
