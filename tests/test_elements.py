"""The table of element types against ml_dtypes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from dsc.elements import ELEMENT_TYPES, FloatEncoding, IntegerEncoding, computed, integer_encoding, stored

FLOATS = [e for e in ELEMENT_TYPES if isinstance(e.encoding, FloatEncoding)]
INTEGERS = [e for e in ELEMENT_TYPES if integer_encoding(e.dtype) is not None]


@pytest.mark.parametrize("element", FLOATS, ids=lambda e: e.name)
def test_float_encodings_are_those_of_ml_dtypes(element: object) -> None:
    encoding, info = element.encoding, ml_dtypes.finfo(element.dtype)
    assert (encoding.bits, encoding.exponent, encoding.mantissa) == (element.bits, info.nexp, info.nmant)
    assert encoding.maximum == float(info.max)
    least = np.array(1, element.stored).view(element.dtype).astype(np.float64)
    assert least == (2.0**-126 if encoding.mantissa == 0 else 2.0 ** (1 - encoding.bias - encoding.mantissa))
    largest, beyond = np.array([encoding.largest, encoding.beyond], element.stored).view(element.dtype)
    assert float(largest) == encoding.maximum
    assert np.isfinite(beyond.astype(np.float32)) == (encoding.specials == "finite")


@pytest.mark.parametrize("element", INTEGERS, ids=lambda e: e.name)
def test_integer_encodings_are_those_of_ml_dtypes(element: object) -> None:
    encoding, info = integer_encoding(element.dtype), ml_dtypes.iinfo(element.dtype)
    assert (encoding.least, encoding.largest, encoding.bits) == (info.min, info.max, element.bits)
    assert [encoding.wrapped(encoding.largest + 1), encoding.wrapped(encoding.least)] == [encoding.least] * 2


def test_what_is_no_integer_has_no_integer_encoding() -> None:
    assert {e.name for e in ELEMENT_TYPES} - {e.name for e in INTEGERS} >= {"FLOAT", "BOOL", "FLOAT8E5M2", "STRING"}
    assert {e.name for e in INTEGERS if isinstance(e.encoding, IntegerEncoding)} == {"UINT4", "INT4", "UINT2", "INT2"}


def test_stored_and_computed() -> None:
    nibbles = np.array([-8, -1, 7], ml_dtypes.int4)
    assert stored(nibbles).dtype == np.uint8
    assert stored(nibbles).tolist() == [8, 15, 7]
    assert computed(nibbles).dtype == np.int8
    assert computed(nibbles).tolist() == [-8, -1, 7]
    plain = np.zeros(3, np.float32)
    assert stored(plain) is plain
    assert computed(plain) is plain
