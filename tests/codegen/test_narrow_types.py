"""Types of a byte and less: every bit pattern, every way of rounding, and quantization to and from them.

onnx.reference is the judge: ONNX Runtime has few of these types. Where the text of the specification says otherwise,
the text decides, and the test says so.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx.helper
import pytest
from onnx.reference import ReferenceEvaluator

import dsc
from dsc.elements import ELEMENT_TYPES, ElementType, FloatEncoding, IntegerEncoding
from dsc.errors import UnsupportedModelError
from tests.exchange.models import model, node, value

FLOATS = [e for e in ELEMENT_TYPES if isinstance(e.encoding, FloatEncoding) and e.bits <= 8 and e.encoding.signed]
INTEGERS = [e for e in ELEMENT_TYPES if isinstance(e.encoding, IntegerEncoding)]
POWERS = next(e for e in ELEMENT_TYPES if e.name == "FLOAT8E8M0")
NARROW = [*FLOATS, *INTEGERS, POWERS]
SIZES = (1, 7, 16, 33, 1000)
"""Less than a vector, one, and some with what is left over."""

RNG = np.random.default_rng(0)
by_name = pytest.mark.parametrize("element", NARROW, ids=lambda e: e.name)


def _codes(element: ElementType) -> np.ndarray:
    return np.arange(2**element.bits, dtype=np.uint8).view(element.dtype)


def _input(name: str, dims: list[int | str], code: int) -> onnx.ValueInfoProto:
    declared = value(name, dims)
    declared.type.tensor_type.elem_type = code
    return declared


def _outputs(*names: str) -> list[onnx.ValueInfoProto]:
    return [onnx.ValueInfoProto(name=n) for n in names]


def _bits(array: np.ndarray) -> np.ndarray:
    """The bits, one for all NaN: which of them it is is not defined."""
    found = array.view(np.uint8).copy()
    if array.dtype not in [e.dtype for e in INTEGERS]:
        found[np.isnan(array.astype(np.float32))] = 0xFF
    return found


def _assert_same(found: np.ndarray, expected: np.ndarray, given: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    wrong = np.nonzero(_bits(found) != _bits(expected))[0]
    assert not wrong.size, [(given[i], found[i], expected[i]) for i in wrong[:5]]


@pytest.mark.parametrize("opt_level", [0, 2])
@by_name
def test_every_bit_pattern_is_read_and_written(element: ElementType, opt_level: int) -> None:
    """As a number and back, and moved as it is: NaN of any sign and payload included."""
    codes = _codes(element)
    nodes = [
        node("Cast", ["x"], ["number"], to=onnx.TensorProto.FLOAT),
        node("Cast", ["number"], ["back"], to=element.code, saturate=0),
    ]
    names = ["number", "back"]
    if element.bits != 6:  # ONNX moves no floats of 6 bits
        nodes += [
            node("Unsqueeze", ["x", "axis"], ["column"]),
            node("Transpose", ["column"], ["row"]),
            node("Pad", ["row", "pads", "fill"], ["moved"]),
        ]
        names.append("moved")
    weights = {"axis": np.array([1]), "pads": np.array([0, 1, 0, 2]), "fill": codes[1]}
    declared = [_input("x", ["n"], element.code)]
    compiled = dsc.compile(model(nodes, declared, _outputs(*names), weights, opset=28), opt_level=opt_level, threads=1)
    for given in (codes, codes[-1:], np.tile(codes, 5)):
        found = compiled.run({"x": given})
        np.testing.assert_array_equal(found["number"], given.astype(np.float32))
        np.testing.assert_array_equal(found["back"].astype(np.float32), given.astype(np.float32))
        nonzero = given.astype(np.float32) != 0
        np.testing.assert_array_equal(_bits(found["back"])[nonzero], _bits(given)[nonzero])
        signs = [np.signbit(a.astype(np.float32)) & ~np.isnan(a.astype(np.float32)) for a in (found["back"], given)]
        np.testing.assert_array_equal(*signs)
        if "moved" in found:
            padded = np.concatenate([codes[1:2], given, codes[1:2], codes[1:2]])
            np.testing.assert_array_equal(found["moved"].view(np.uint8), padded.view(np.uint8)[None])


def _numbers(element: ElementType) -> np.ndarray:
    """Every number of the type, the middle of each two neighbours, and what is next to all of these, as float32; what
    is beyond the largest; floats of all magnitudes."""
    finite = _codes(element).astype(np.float64)
    finite = np.unique(finite[np.isfinite(finite)])
    step = finite[-1] - finite[-2]
    middles = np.concatenate([(finite[1:] + finite[:-1]) / 2, [finite[-1] + step / 2, finite[0] - step / 2]])
    exact = np.concatenate([finite, middles, [2 * finite[-1], 1e30, 1e-30, 1e-44]]).astype(np.float32)
    beside = [np.nextafter(exact, np.float32(end)) for end in (-np.inf, np.inf)]
    any_size = RNG.standard_normal(2000) * np.exp2(RNG.integers(-20, 20, 2000))
    every = np.concatenate([exact, *beside, -exact, any_size.astype(np.float32)])
    return np.concatenate([every, np.float32([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0])])


@pytest.mark.parametrize("saturate", [1, 0])
@pytest.mark.parametrize("element", FLOATS, ids=lambda e: e.name)
def test_floats_are_rounded_to_nearest_even(element: ElementType, saturate: int) -> None:
    proto = model(
        [node("Cast", ["x"], ["y"], to=element.code, saturate=saturate)],
        [_input("x", ["n"], onnx.TensorProto.FLOAT)],
        [_input("y", ["n"], element.code)],
        opset=28,
    )
    compiled, numbers = dsc.compile(proto, threads=1), _numbers(element)
    for given in (numbers, *(RNG.permutation(numbers)[:size] for size in SIZES)):
        with np.errstate(all="ignore"):
            (expected,) = ReferenceEvaluator(proto).run(None, {"x": given})
        _assert_same(compiled.run({"x": given})["y"], expected, given)


@pytest.mark.parametrize("element", FLOATS, ids=lambda e: e.name)
def test_doubles_are_rounded_once(element: ElementType) -> None:
    """onnx.reference (ml_dtypes) rounds to float32 first; ONNX's "RNE" is one rounding: what is a little more than the
    middle of two numbers becomes the larger one."""
    finite = _codes(element).astype(np.float64)
    finite = np.unique(finite[np.isfinite(finite)])
    finite = finite[finite >= 0]
    middles = (finite[1:] + finite[:-1]) / 2
    above, below = middles * (1 + 2.0**-40), middles * (1 - 2.0**-40)
    proto = model(
        [node("Cast", ["x"], ["y"], to=element.code)],
        [_input("x", ["n"], onnx.TensorProto.DOUBLE)],
        _outputs("y"),
        opset=28,
    )
    compiled = dsc.compile(proto, threads=1)
    for given, expected in ((above, finite[1:]), (below, finite[:-1]), (-above, -finite[1:])):
        np.testing.assert_array_equal(compiled.run({"x": given})["y"].astype(np.float64), expected)
    special = compiled.run({"x": np.array([np.nan, np.inf, 1e300, 1e-300])})["y"].astype(np.float64)
    limit = element.encoding.maximum
    np.testing.assert_array_equal(special, [0 if element.encoding.specials == "finite" else np.nan, limit, limit, 0])


@pytest.mark.parametrize(
    ("saturate", "mode", "expected"),
    [
        (1, "up", [0, 0, 0, 1, 1, 127, 128, 129, 254, 254, 254, 255]),
        (1, "nearest", [0, 0, 0, 0, 1, 127, 127, 129, 254, 254, 254, 255]),
        (1, "down", [0, 0, 0, 0, 0, 127, 127, 128, 254, 254, 254, 255]),
        (0, "nearest", [255, 255, 0, 0, 1, 127, 127, 129, 254, 255, 255, 255]),
        (0, "up", [255, 255, 0, 1, 1, 127, 128, 129, 254, 255, 255, 255]),
    ],
)
def test_powers_of_two(saturate: int, mode: str, expected: list[int]) -> None:
    """The table of ONNX's Cast, where onnx.reference strays from it: it makes NaN of infinity where saturation is asked
    for, 2^-127 of 0 where it is not, and takes subnormal float32 for fractions of the wrong number."""
    x = [0.0, 2.0**-130, 2.0**-127, 1.25 * 2.0**-127, 1.5 * 2.0**-127, 1.0, 1.25, 3.0, 2.0**127, 1.5 * 2.0**127]
    given = np.array([*x, np.inf, np.nan], np.float32)
    proto = model(
        [node("Cast", ["x"], ["y"], to=POWERS.code, saturate=saturate, round_mode=mode)],
        [_input("x", [len(given)], onnx.TensorProto.FLOAT)],
        _outputs("y"),
        opset=25,
    )
    found = dsc.compile(proto, threads=1).run({"x": given})["y"]
    assert found.dtype == POWERS.dtype
    assert found.view(np.uint8).tolist() == expected


@pytest.mark.parametrize("mode", ["up", "down", "nearest"])
def test_powers_of_two_as_the_reference_has_them(mode: str) -> None:
    proto = model(
        [node("Cast", ["x"], ["y"], to=POWERS.code, round_mode=mode)],
        [_input("x", ["n"], onnx.TensorProto.FLOAT)],
        [_input("y", ["n"], POWERS.code)],
        opset=25,
    )
    compiled = dsc.compile(proto, threads=1)
    for size in SIZES:
        given = np.exp2(RNG.uniform(-125, 127, size)).astype(np.float32)
        (expected,) = ReferenceEvaluator(proto).run(None, {"x": given})
        np.testing.assert_array_equal(compiled.run({"x": given})["y"].view(np.uint8), expected.view(np.uint8))


@pytest.mark.parametrize("element", INTEGERS, ids=lambda e: e.name)
@pytest.mark.parametrize("source", [np.int8, np.uint8, np.int32, np.int64])
def test_integers_lose_their_upper_bits(element: ElementType, source: type) -> None:
    given = np.arange(-100, 100).astype(source)
    proto = model(
        [node("Cast", ["x"], ["y"], to=element.code), node("Cast", ["y"], ["wide"], to=onnx.TensorProto.INT32)],
        [value("x", [200], source)],
        _outputs("y", "wide"),
        opset=25,
    )
    found = dsc.compile(proto, threads=1).run({"x": given})
    expected = [element.encoding.wrapped(int(v)) for v in given]
    assert found["wide"].tolist() == expected
    assert found["y"].dtype == element.dtype
    assert found["y"].astype(np.int32).tolist() == expected


QUANTIZED = [e for e in NARROW if e is not POWERS]


def _codes_of(element: ElementType, *shape: int) -> np.ndarray:
    """Random finite numbers of a type."""
    codes = _codes(element)
    return RNG.choice(codes[np.isfinite(codes.astype(np.float32))].view(np.uint8), shape).view(element.dtype)


@pytest.mark.parametrize("opt_level", [0, 2])
@pytest.mark.parametrize("element", QUANTIZED, ids=lambda e: e.name)
def test_quantization(element: ElementType, opt_level: int) -> None:
    """DequantizeLinear of a weight and of an input, and QuantizeLinear, per tensor, per axis and by blocks."""
    weights, nodes, outputs = {"w": _codes_of(element, 5, 6)}, [], []
    for kind, shape in {"tensor": (), "axis": (6,), "blocks": (5, 3)}.items():
        is_integer = isinstance(element.encoding, IntegerEncoding)
        weights[f"scale_{kind}"] = RNG.uniform(0.1, 2, shape).astype(np.float32)
        weights[f"zero_{kind}"] = _codes_of(element, *shape) if is_integer else np.zeros(shape, element.dtype)
        attributes = {"axis": 1} | ({"block_size": 2} if kind == "blocks" else {})
        for op, source, code in (("Dequantize", "w", 1), ("Dequantize", "v", 1), ("Quantize", "x", element.code)):
            name = f"{op} {source} {kind}"
            nodes.append(node(f"{op}Linear", [source, f"scale_{kind}", f"zero_{kind}"], [name], **attributes))
            outputs.append(_input(name, [5, 6], code))
    inputs = [_input("x", [5, 6], 1), _input("v", [5, 6], element.code)]
    proto = model(nodes, inputs, outputs, weights, opset=28)
    feeds = {"x": (RNG.standard_normal((5, 6)) * 4).astype(np.float32), "v": _codes_of(element, 5, 6)}
    with np.errstate(all="ignore"):
        expected = ReferenceEvaluator(proto).run(None, feeds)
    found = dsc.compile(proto, opt_level=opt_level, threads=1).run(feeds)
    for output, array in zip(outputs, expected, strict=True):
        assert found[output.name].dtype == array.dtype
        # a zero point of 0 takes the sign of -0, which the reference leaves to it in floats of 8 bits: equal numbers
        np.testing.assert_array_equal(
            found[output.name].astype(np.float32), array.astype(np.float32), err_msg=output.name
        )


@pytest.mark.parametrize("saturate", [1, 0])
def test_quantization_to_floats_saturates_where_it_is_to(saturate: int) -> None:
    x = np.float32([1e6, -1e6, np.inf, np.nan, 448, 464, 465])
    proto = model(
        [node("QuantizeLinear", ["x", "s"], ["y"], output_dtype=onnx.TensorProto.FLOAT8E4M3FN, saturate=saturate)],
        [_input("x", [7], 1)],
        _outputs("y"),
        {"s": np.float32(1)},
        opset=23,
    )
    found = dsc.compile(proto, threads=1).run({"x": x})["y"].astype(np.float32)
    beyond = 448.0 if saturate else np.nan
    expected = [beyond, -beyond, beyond, np.nan, 448, 448, beyond]
    np.testing.assert_array_equal(found, expected)


def test_scales_that_are_powers_of_two() -> None:
    """The blocks of OCP's Microscaling formats: FLOAT4E2M1 with a FLOAT8E8M0 for each block."""
    fp4 = next(e for e in ELEMENT_TYPES if e.name == "FLOAT4E2M1")
    w, scale = _codes_of(fp4, 4, 64), np.exp2(RNG.integers(-8, 8, (4, 2))).astype(POWERS.dtype)
    nodes = [
        node("DequantizeLinear", ["w", "s"], ["wide"], block_size=32, axis=1, output_dtype=onnx.TensorProto.FLOAT),
        node("Transpose", ["wide"], ["turned"]),
        node("MatMul", ["x", "turned"], ["y"]),
    ]
    x = RNG.standard_normal((3, 64)).astype(np.float32)
    proto = model(nodes, [_input("x", ["n", 64], 1)], _outputs("y"), {"w": w, "s": scale}, opset=28)
    expected = x @ (w.astype(np.float32) * np.repeat(scale.astype(np.float32), 32, axis=1)).T
    for opt_level in (0, 2):
        found = dsc.compile(proto, opt_level=opt_level, threads=1).run({"x": x})["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)  # sums in another order


@by_name
def test_constants_of_any_size(element: ElementType) -> None:
    """Small ones are in the IR, large ones in the store of weights; all come out as they went in."""
    constants = {"one": _codes(element)[-1:], "small": _codes(element)[:64], "large": np.tile(_codes(element), 70)}
    if element.bits == 6:  # no operator of ONNX hands them on
        nodes = [node("Cast", [n], [f"{n}_"], to=1) for n in constants]
    else:
        nodes = [node("Identity", [n], [f"{n}_"]) for n in constants]
    nodes.append(node("Neg", ["x"], ["y"]))
    outputs = _outputs("y", *(f"{n}_" for n in constants))
    proto = model(nodes, [_input("x", [2], 1)], outputs, constants, opset=28)
    for opt_level in (0, 2):
        found = dsc.compile(proto, opt_level=opt_level, threads=1).run({"x": np.zeros(2, np.float32)})
        for name, array in constants.items():
            expected = array.astype(np.float32) if element.bits == 6 else array
            assert found[f"{name}_"].dtype == expected.dtype
            np.testing.assert_array_equal(found[f"{name}_"].astype(np.float32), array.astype(np.float32))


@pytest.mark.parametrize("opt_level", [0, 2])
def test_a_bfloat16_constant_is_added(opt_level: int) -> None:
    """A scalar is written into the kernel, a row is a parameter."""
    bf16 = ml_dtypes.bfloat16
    proto = model(
        [node("Add", ["x", "c"], ["y"]), node("Add", ["y", "row"], ["z"])],
        [_input("x", [3], onnx.TensorProto.BFLOAT16)],
        _outputs("z"),
        {"c": np.array(1.5, bf16), "row": np.array([1, 2, 3], bf16)},
    )
    found = dsc.compile(proto, opt_level=opt_level, threads=1).run({"x": np.array([1, 2, 3], bf16)})["z"]
    assert found.dtype == bf16
    assert found.astype(np.float32).tolist() == [3.5, 5.5, 7.5]


def test_bits_are_taken_for_another_type() -> None:
    """BitCast sees what is stored, not what is computed with."""
    pairs = [("UINT4", "INT4"), ("FLOAT8E4M3FN", "FLOAT8E5M2"), ("BFLOAT16", "INT16"), ("FLOAT4E2M1", "UINT4")]
    rows = {e.name: e for e in ELEMENT_TYPES}
    for source, target in ((rows[a], rows[b]) for pair in pairs for a, b in (pair, pair[::-1])):
        given = np.arange(2 ** min(source.bits, 8), dtype=f"u{source.dtype.itemsize}").view(source.dtype)
        proto = model(
            [node("BitCast", ["x"], ["y"], to=target.code)], [_input("x", ["n"], source.code)], _outputs("y"), opset=28
        )
        found = dsc.compile(proto, threads=1).run({"x": given})["y"]
        assert found.dtype == target.dtype
        assert found.tobytes() == given.tobytes()


def test_the_upper_bits_of_a_callers_byte_do_not_matter() -> None:
    """ml_dtypes ignores them, and so do kernels."""
    proto = model([node("Cast", ["x"], ["y"], to=6)], [_input("x", [3], 22)], _outputs("y"), opset=25)
    given = np.array([0x07, 0xF7, 0x98], np.uint8).view(ml_dtypes.int4)
    assert dsc.compile(proto, threads=1).run({"x": given})["y"].tolist() == [7, 7, -8]


def test_nothing_is_cast_silently() -> None:
    proto = model([node("Cast", ["x"], ["y"], to=1)], [_input("x", [3], 17)], _outputs("y"), opset=25)
    compiled = dsc.compile(proto, threads=1)
    with pytest.raises(dsc.errors.UsageError, match=r"float8_e4m3fn.*float8_e5m2|float8_e5m2.*float8_e4m3fn"):
        compiled.run({"x": np.zeros(3, ml_dtypes.float8_e5m2)})


def test_products_of_floats_of_8_bits_are_refused() -> None:
    names = ["a", "s", "z", "b", "s", "z", "s", "z"]
    f8 = ml_dtypes.float8_e4m3fn
    proto = model(
        [node("QLinearMatMul", names, ["y"])],
        [_input("a", [2, 2], 17)],
        _outputs("y"),
        {"s": np.float32(1), "z": np.array(0, f8), "b": np.ones((2, 2), f8)},
        opset=21,
    )
    with pytest.raises(UnsupportedModelError, match="quantized integers only"):
        dsc.compile(proto, threads=1)
