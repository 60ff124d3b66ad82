# ruff: noqa: E501 - graphs are written on one line
"""Transposes, packs and unpacks by tiles."""

from __future__ import annotations

import pytest

from dsc.targets import Refusal
from dsc.targets.cpu.generic.kernel import GenericKernel
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.transpose import Transpose
from tests.kernels import machine
from tests.targets.regions import Region, compare

COPIES = [
    Region("(float[64,48] x) => (float[48,64] y) { y = Transpose<perm=[1,0]>(x) }"),
    Region("(float[33,50] x) => (float[50,33] y) { y = Transpose<perm=[1,0]>(x) }"),
    Region("(float[2,5,17,6] x) => (float[2,17,6,5] y) { y = Transpose<perm=[0,2,3,1]>(x) }"),
    Region("(float[2,17,6,40] x) => (float[2,40,17,6] y) { y = Transpose<perm=[0,3,1,2]>(x) }"),
    Region("(float[b,20,30] x) => (float[b,30,20] y) { y = Transpose<perm=[0,2,1]>(x) }", {"b": 3}),
    Region("(int32[5,20,30] x) => (int32[20,30,5] y) { y = Transpose<perm=[1,2,0]>(x) }"),
    Region("(double[20,30] x) => (double[30,20] y) { y = Transpose<perm=[1,0]>(x) }"),
    Region("(float[2,32,5,7] x) => (float[2,32,5,7] y) { y = Identity(x) }", block=16, sides="inputs"),
    Region("(float[2,32,5,7] x) => (float[2,32,5,7] y) { y = Identity(x) }", block=16, sides="outputs"),
    Region("(float[2,24,5,7] x) => (float[2,24,5,7] y) { y = Identity(x) }", block=8, sides="outputs"),
]  # fmt: skip

OTHERS = {
    "(float[64,3] x) => (float[3,64] y) { y = Transpose<perm=[1,0]>(x) }": "shorter than 4",
    "(float[n,64] x) => (float[64,n] y) { y = Transpose<perm=[1,0]>(x) }": "unknown length",
    "(float[6,5,8] x) => (float[5,6,8] y) { y = Transpose<perm=[1,0,2]>(x) }": "rows are copied as they are",
    "(float[64,48] x) => (float[48,64] y) { t = Relu(x) y = Transpose<perm=[1,0]>(t) }": "not a copy",
    "(float[64,48] x, float[48,64] z) => (float[48,64] y) { t = Transpose<perm=[1,0]>(x) y = Add(t, z) }": "not one input",
}


@pytest.mark.parametrize("tag", ["x86", "x86:avx2"])
def test_against_onnxruntime(tag: str) -> None:
    compare(Transpose(), COPIES, machine(tag))


@pytest.mark.parametrize("text", OTHERS)
def test_refusals(text: str) -> None:
    refusal = _match(Region(text), machine("x86:avx2"))
    assert isinstance(refusal, Refusal)
    assert OTHERS[text] in refusal.reason


def test_estimated_faster_than_the_generic_kernel() -> None:
    host = machine("x86:avx2")
    for region in COPIES[:4]:
        tiles = Transpose().match(region.workload(), host)
        loops = GenericKernel().match(region.workload(), host)
        assert tiles.estimate(tiles.points()[0]) < loops.estimate(loops.points()[0])


def _match(region: Region, onto: Cpu) -> object:
    return Transpose().match(region.workload(), onto)
