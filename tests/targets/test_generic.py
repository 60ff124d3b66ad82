"""The generic kernel: any body, any shape, against ONNX Runtime."""

from __future__ import annotations

import pytest

from dsc.targets import Machine, machine
from dsc.targets.cpu.generic.kernel import GenericKernel
from tests.targets.regions import Region, compare


@pytest.fixture(scope="module")
def host() -> Machine:
    return machine("x86")


ELEMENTWISE = [
    Region("(float[2,3,5] x) => (float[2,3,5] y) { y = Relu(x) }"),
    Region("(float x) => (float y) { y = Neg(x) }"),
    Region("(float[0,4] x) => (float[0,4] y) { y = Neg(x) }"),
    Region("(float[1000003] x) => (float[1000003] y) { y = Abs(x) }"),
    Region("(float[1,32,7,9] x, float[1,32,1,1] s) => (float[1,32,7,9] y) { y = Mul(x, s) }"),
#    Region("(float[1,32,7,9] x, float[1,32,1,1] s) => (float[1,32,7,9] y) { y = Mul(x, s) }", block=16),
    Region("(float[4,17] x, float[4,1] a, float[17] b) => (float[4,17] y) { t = Add(x, a) y = Mul(t, b) }"),
    Region("(float[b,s,384] x, float[b,s,384] r) => (float[b,s,384] y) { y = Add(x, r) }", {"b": 2, "s": 3}),
    Region("(float[b,n] x, float[n] r) => (float[b,n] y, float[b,n] z) { y = Add(x, r) z = Relu(y) }", {"b": 3, "n": 37}),
    Region("(float[5,7] x, float[5,7] r) => (float[5,7] y, float[5,7] z) { y = Add(x, r) z = Abs(y) }"),
    Region("(int64[3,33] x, int64[33] r) => (int64[3,33] y) { y = Add(x, r) }"),
    Region("(double[3,33] x) => (double[3,33] y) { y = Neg(x) }"),
    Region("(float16[3,33] x, float16[3,33] r) => (float16[3,33] y) { y = Add(x, r) }", atol=1e-2),
    Region("(float[3,33] x, float[33] r) => (bool[3,33] y) { y = Less(x, r) }"),
    Region("(bool[3,33] x, bool[33] r) => (bool[3,33] y) { y = And(x, r) }"),
    Region("(bool[3,33] c, float[3,33] x, float[3,1] r) => (float[3,33] y) { y = Where(c, x, r) }"),
#    Region("(uint8[3,33] x) => (float[3,33] y) { y = Cast<to=1>(x) }"),
]


def test_elementwise(host: Machine) -> None:
    compare(GenericKernel(), ELEMENTWISE, host)
