"""Conversions between float32 and half precision, bit by bit: by F16C, by arithmetic on integers, and of bfloat16."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from dsc.codegen import CompiledModel
from dsc.pipeline import compile_model
from dsc.targets import target
from tests.compiled import TextModel
from tests.targets.assembly import X86

BF16 = np.dtype(ml_dtypes.bfloat16)
CASTS = """(float[n] x, float16[65536] h, bfloat16[65536] b) =>
    (float16[n] xh, bfloat16[n] xb, float[65536] hx, float[65536] bx, bfloat16[65536] hb, float16[65536] bh) {
    xh = Cast<to=10>(x)  xb = Cast<to=16>(x)  hx = Cast<to=1>(h)  bx = Cast<to=1>(b)
    hb = Cast<to=16>(h)  bh = Cast<to=10>(b)
}"""
TARGETS = {"x86:x86-64-v2": False, "x86:x86-64-v3": True}
"""Whether they convert float16 by instructions."""


@pytest.fixture(scope="module", params=TARGETS)
def compiled(request: pytest.FixtureRequest) -> tuple[str, CompiledModel]:
    return request.param, compile_model(TextModel(CASTS, {}).proto(), target=request.param).model


@pytest.fixture(scope="module")
def results(compiled: tuple[str, CompiledModel]) -> dict[str, np.ndarray]:
    codes = np.arange(1 << 16, dtype=np.uint16)
    return compiled[1].load(1).run({"x": singles(), "h": codes.view(np.float16), "b": codes.view(BF16)})


def singles() -> np.ndarray:
    """Random bits; all numbers of both types, and what lies half way between two, or just beside that; NaNs."""
    codes = np.arange(1 << 16, dtype=np.uint32)
    with np.errstate(invalid="ignore"):
        halves = codes.astype(np.uint16).view(np.float16).astype(np.float32).view(np.uint32)
    ties = [halves + np.uint32(d) for d in (0, 0xFFF, 0x1000, 0x1001)]
    ties += [(codes << 16) + np.uint32(d) for d in (0, 0x7FFF, 0x8000, 0x8001, 0xFFFF)]
    tiny = (np.random.default_rng(3).uniform(0, 2.0**-13, 5000)).astype(np.float32).view(np.uint32)
    grid = np.arange(4097, dtype=np.float32) * np.float32(2.0**-26)  # quarters of the least float16
    random = np.random.default_rng(4).integers(0, 1 << 32, 30001, dtype=np.uint32)
    return np.concatenate([*ties, tiny, tiny | 0x80000000, grid.view(np.uint32), random]).view(np.float32)


def as_float16(single: np.ndarray) -> np.ndarray:
    """Bits, as IEEE 754 and F16C have them: NaNs keep the upper part of their payload, and are quiet."""
    with np.errstate(over="ignore", invalid="ignore"):
        number = single.astype(np.float16).view(np.uint16)
    bits = single.view(np.uint32)
    nan = (bits >> 16 & 0x8000) | 0x7E00 | (bits >> 13 & 0x3FF)
    return np.where(np.isnan(single), nan, number).astype(np.uint16)


def as_bfloat16(single: np.ndarray) -> np.ndarray:
    bits = single.view(np.uint32)
    nearest = (bits.astype(np.uint64) + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(single), bits >> 16 | 0x40, nearest).astype(np.uint16)


def from_float16() -> np.ndarray:
    half = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    with np.errstate(invalid="ignore"):
        bits = half.astype(np.float32).view(np.uint32)
    return np.where(np.isnan(half), bits | 0x00400000, bits).astype(np.uint32)


def check(found: np.ndarray, wanted: np.ndarray) -> None:
    bits = found.view(wanted.dtype)
    wrong = np.flatnonzero(bits != wanted)
    assert not len(wrong), (
        f"{len(wrong)} differ, the first at {wrong[0]}: {bits[wrong[0]]:#x}, not {wanted[wrong[0]]:#x}"
    )


def test_all_halves_become_what_they_are(results: dict[str, np.ndarray]) -> None:
    check(results["hx"], from_float16())
    check(results["bx"], np.arange(1 << 16, dtype=np.uint32) << 16)


def test_float32_is_rounded_to_the_nearest(results: dict[str, np.ndarray]) -> None:
    """Ties to even; too large is infinite; subnormals exactly; the reference is NumPy's, and ml_dtypes agrees."""
    check(results["xh"], as_float16(singles()))
    check(results["xb"], as_bfloat16(singles()))
    numbers = singles()[~np.isnan(singles())]
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(as_bfloat16(numbers), numbers.astype(BF16).view(np.uint16))


def test_one_half_becomes_the_other(results: dict[str, np.ndarray]) -> None:
    check(results["hb"], as_bfloat16(from_float16().view(np.float32)))
    check(results["bh"], as_float16((np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32)))


def test_conversions_are_vector_code(compiled: tuple[str, CompiledModel], tmp_path) -> None:
    """No routine of a library for each element, and F16C's instructions where they are."""
    name, _ = compiled
    compile_model(TextModel(CASTS, {}).proto(), target=name, dump=tmp_path)
    code = [
        line.strip() for file in tmp_path.rglob("*.s") for line in file.read_text().splitlines() if line[:1] == "\t"
    ]
    assert not [line for line in X86.calls(code) if "hf" in line]
    for instruction in ("cvtph2ps", "cvtps2ph"):
        assert (X86.count(code, instruction) > 0) == target(name).machine.converts_float16 == TARGETS[name]
