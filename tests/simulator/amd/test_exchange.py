"""Instructions by which lanes read each other's registers, against what the instruction sets' guides say of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.simulator.amd.llvm import kernel, launched, moved

WAVES = {"gfx942": 64, "gfx1100": 32}
Source = Callable[[int, int], int]
"""The lane that a lane reads from, given the lanes of a wavefront."""
PLACE = "  %place = shl i32 %from, 2\n  %r = call i32 @llvm.amdgcn.ds.bpermute(i32 %place, i32 %v)"
CASES: dict[str, tuple[str, Source]] = {
    "bpermute": ("  %from = xor i32 %t, 21\n" + PLACE, lambda lane, wave: (lane ^ 21) % wave),
    "bpermute from one": ("  %from = add i32 0, 7\n" + PLACE, lambda lane, wave: 7),
    "permute": (
        "  %to = add i32 %t, 5\n  %place = shl i32 %to, 2\n  %r = call i32 @llvm.amdgcn.ds.permute(i32 %place, i32 %v)",
        lambda lane, wave: (lane - 5) % wave,
    ),
    "swizzle: reversed in 32": (
        "  %r = call i32 @llvm.amdgcn.ds.swizzle(i32 %v, i32 31775)",  # and 31, xor 31
        lambda lane, wave: lane ^ 31,
    ),
    "swizzle: quads": (
        "  %r = call i32 @llvm.amdgcn.ds.swizzle(i32 %v, i32 32795)",  # 3, 2, 1, 0
        lambda lane, wave: lane ^ 3,
    ),
    "readlane": ("  %r = call i32 @llvm.amdgcn.readlane.i32(i32 %v, i32 19)", lambda lane, wave: 19),
    "readfirstlane": ("  %r = call i32 @llvm.amdgcn.readfirstlane.i32(i32 %v)", lambda lane, wave: 0),
}


@pytest.mark.parametrize("arch", WAVES)
@pytest.mark.parametrize("name", CASES)
def test_lanes_read_each_other(name: str, arch: str) -> None:
    body, source = CASES[name]
    wave = WAVES[arch]
    x = np.random.default_rng(5).integers(1, 1 << 30, 128).astype(np.int32)
    y = np.zeros_like(x)
    counters = launched(kernel(moved(body)), arch, x, y, 128, order=9)
    expected = [x[lane // wave * wave + source(lane % wave, wave)] for lane in range(128)]
    np.testing.assert_array_equal(y, expected)
    assert counters.warp_collectives == 128 // wave


DPP = {
    "quads": (0x1B, lambda lane: lane ^ 3),
    "row_shl:3": (0x103, lambda lane: lane + 3 if lane % 16 < 13 else None),
    "row_shr:1": (0x111, lambda lane: lane - 1 if lane % 16 else None),
    "row_ror:4": (0x124, lambda lane: lane // 16 * 16 + (lane - 4) % 16),
    "row_mirror": (0x140, lambda lane: lane // 16 * 16 + 15 - lane % 16),
    "row_half_mirror": (0x141, lambda lane: lane // 8 * 8 + 7 - lane % 8),
    "row_bcast15": (0x142, lambda lane: lane // 16 * 16 - 1 if lane >= 16 else None),
}


@pytest.mark.parametrize("name", DPP)
def test_data_parallel_primitives(name: str) -> None:
    """Where a row ends a lane keeps what it has, or gets zero if the instruction says so; masks choose rows."""
    control, source = DPP[name]
    x = np.random.default_rng(6).integers(1, 1 << 30, 64).astype(np.int32)
    for bound, rows in ((False, 15), (True, 15), (False, 5)):
        y = np.zeros_like(x)
        call = f"i32 %t, i32 %v, i32 {control}, i32 {rows}, i32 15, i1 {str(bound).lower()}"
        launched(kernel(moved(f"  %r = call i32 @llvm.amdgcn.update.dpp.i32({call})")), "gfx942", x, y)
        for lane in range(64):
            from_lane = source(lane)
            moved_bits = x[from_lane] if from_lane is not None else 0 if bound else lane
            assert y[lane] == (moved_bits if rows >> lane // 16 & 1 else lane), (lane, bound, rows)


def test_lanes_that_take_no_part_are_zero() -> None:
    """As the guides say of `ds_bpermute` where a branch left lanes out; both sides of it take their turns."""
    body = """  %p = getelementptr i32, ptr addrspace(1) %x, i32 %t
  %v = load i32, ptr addrspace(1) %p, align 4
  %is_low = icmp ult i32 %t, 20
  br i1 %is_low, label %low, label %high

low:
  %near = xor i32 %t, 16
  %place = shl i32 %near, 2
  %a = call i32 @llvm.amdgcn.ds.bpermute(i32 %place, i32 %v)
  br label %both

high:
  %b = call i32 @llvm.amdgcn.readfirstlane.i32(i32 %v)
  br label %both

both:
  %r = phi i32 [ %a, %low ], [ %b, %high ]
  %q = getelementptr i32, ptr addrspace(1) %y, i32 %t
  store i32 %r, ptr addrspace(1) %q, align 4"""
    x = np.arange(1, 65, dtype=np.int32)
    for order in ("forward", "reverse", 4):
        y = np.zeros_like(x)
        launched(kernel(body), "gfx942", x, y, order=order)
        expected = [x[lane ^ 16] if lane ^ 16 < 20 else 0 for lane in range(20)] + [x[20]] * 44
        np.testing.assert_array_equal(y, expected)


def test_the_index_of_a_lane() -> None:
    """By bits before it, as TVM's code asks: the second half of a wavefront counts the first."""
    count = "  %low = call i32 @llvm.amdgcn.mbcnt.lo(i32 -1, i32 0)\n"
    both = count + "  %r = call i32 @llvm.amdgcn.mbcnt.hi(i32 -1, i32 %low)"
    x = np.zeros(128, np.int32)
    for arch, body in (("gfx942", both), ("gfx1100", count + "  %r = add i32 %low, 0")):
        y = np.zeros_like(x)
        launched(kernel(moved(body)), arch, x, y, 128)
        np.testing.assert_array_equal(y, np.arange(128) % WAVES[arch])


DOTS = {
    "sdot4(i32 %v, i32 %t, i32 7, i1 false)": np.int8,
    "sudot4(i1 true, i32 %v, i1 true, i32 %t, i32 7, i1 false)": np.int8,
    "sudot4(i1 false, i32 %v, i1 true, i32 %t, i32 7, i1 false)": np.uint8,
}


@pytest.mark.parametrize("call", DOTS)
def test_products_of_bytes(call: str) -> None:
    x = np.random.default_rng(7).integers(-(1 << 31), 1 << 31, 64).astype(np.int32)
    y = np.zeros_like(x)
    launched(kernel(moved(f"  %r = call i32 @llvm.amdgcn.{call}")), "gfx942", x, y)
    factors = x.view(DOTS[call]).reshape(64, 4).astype(np.int64)
    others = np.arange(64, dtype=np.int32).view(np.int8).reshape(64, 4)
    np.testing.assert_array_equal(y, (factors * others).sum(1) + 7)
