# ruff: noqa: E501 - graphs are written on one line
"""The generic kernel: any body, any shape, against ONNX Runtime."""

from __future__ import annotations

import re

import pytest

from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.generic.kernel import GenericKernel, GenericSpace
from dsc.targets.cpu.machine import Cpu
from tests.kernels import compiled_library, machine
from tests.targets.regions import Region, compare


@pytest.fixture(scope="module")
def host() -> Cpu:
    return machine("x86")


ELEMENTWISE = [
    Region("(float[2,3,5] x) => (float[2,3,5] y) { y = Relu(x) }"),
    Region("(float x) => (float y) { y = Neg(x) }"),
    Region("(float[0,4] x) => (float[0,4] y) { y = Neg(x) }"),
    Region("(float[1000003] x) => (float[1000003] y) { y = Abs(x) }"),
    Region("(float[1,32,7,9] x, float[1,32,1,1] s) => (float[1,32,7,9] y) { y = Mul(x, s) }"),
    Region("(float[1,32,7,9] x, float[1,32,1,1] s) => (float[1,32,7,9] y) { y = Mul(x, s) }", block=16),
    Region("(float[4,17] x, float[4,1] a, float[17] b) => (float[4,17] y) { t = Add(x, a) y = Mul(t, b) }"),
    Region("(float[b,s,384] x, float[b,s,384] r) => (float[b,s,384] y) { y = Add(x, r) }", {"b": 2, "s": 3}),
    Region(
        "(float[b,n] x, float[n] r) => (float[b,n] y, float[b,n] z) { y = Add(x, r) z = Relu(y) }",
        {"b": 3, "n": 37},
    ),
    Region("(float[5,7] x, float[5,7] r) => (float[5,7] y, float[5,7] z) { y = Add(x, r) z = Sigmoid(y) }"),
    Region("(int64[3,33] x, int64[33] r) => (int64[3,33] y) { y = Add(x, r) }"),
    Region("(double[3,33] x) => (double[3,33] y) { y = Neg(x) }"),
    Region("(float16[3,33] x, float16[3,33] r) => (float16[3,33] y) { y = Add(x, r) }", atol=1e-2),
    Region("(float[3,33] x, float[33] r) => (bool[3,33] y) { y = Less(x, r) }"),
    Region("(bool[3,33] x, bool[33] r) => (bool[3,33] y) { y = And(x, r) }"),
    Region("(bool[3,33] c, float[3,33] x, float[3,1] r) => (float[3,33] y) { y = Where(c, x, r) }"),
    Region("(uint8[3,33] x) => (float[3,33] y) { y = Cast<to=1>(x) }"),
    # stages of one block each, whose elements have different sizes
    Region("(float[m,7] x, float[1,1] c) => (bool[m,7] y) { e = Equal(x, c) y = Xor(e, e) }", {"m": 300}),
]


ROWS = [
    Region("(float[4,37] x) => (float[4,37] y) { y = Softmax<axis=-1>(x) }"),
    Region("(float[b,n] x) => (float[b,n] y) { y = Softmax<axis=-1>(x) }", {"b": 3, "n": 53}),
    Region("(float[3,5,70] x) => (float[3,5,70] y) { y = Softmax<axis=1>(x) }"),
    Region("(float[3,5,70] x) => (float[3,5,70] y) { y = LogSoftmax<axis=0>(x) }"),
    Region("(float[1,3] x) => (float[1,3] y) { y = LogSoftmax<axis=-1>(x) }"),
    Region(
        "(float[b,s,384] x, float[384] g, float[384] c) => (float[b,s,384] y) { y = LayerNormalization(x, g, c) }",
        {"b": 2, "s": 7},
    ),
    Region("(float[9,100] x, float[100] g, float[100] c) => (float[9,100] y) { y = LayerNormalization(x, g, c) }"),
    Region(
        "(float[9,100] x, float[9,100] r, float[100] g, float[100] c) => (float[9,100] y, float[9,100] z) "
        "{ z = Add(x, r) y = LayerNormalization(z, g, c) }"
    ),
    Region(
        "(float[2,32,5,6] x, float[32] g, float[32] c) => (float[2,32,5,6] y) { y = InstanceNormalization(x, g, c) }"
    ),
    Region(
        "(float[2,32,5,6] x, float[32] g, float[32] c) => (float[2,32,5,6] y) { y = InstanceNormalization(x, g, c) }",
        block=16,
    ),
    Region(
        "(float[2,32,5,6] x, float[32] g, float[32] c) => (float[2,32,5,6] y) { y = GroupNormalization<num_groups=4>(x, g, c) }"
    ),
]

REDUCTIONS = [
    Region("(float[2,32,7,9] x) => (float[2,32,1,1] y) { y = GlobalAveragePool(x) }"),
    Region("(float[2,32,7,9] x) => (float[2,32,1,1] y) { y = GlobalAveragePool(x) }", block=16),
    Region("(float[2,32,7,9] x) => (float[2,32,1,1] y) { y = GlobalMaxPool(x) }", block=8),
    Region(
        "(float[b,1] x) => (float[b] y) { a = Constant<value_ints=[1]>() y = ReduceMean<keepdims=0>(x, a) }", {"b": 20}
    ),
    Region(
        "(float[9,512] x, float[9] z) => (float[9] y) { a = Constant<value_ints=[1]>() s = ReduceSum<keepdims=0>(x, a) "
        "c = Constant<value_float=0.002>() t = Mul(s, c) u = Sub(t, z) f = Constant<value_float=0.0>() y = Max(f, u) }"
    ),
    Region("(float[b,1000] x) => (float[b,1000] y) { y = Softmax<axis=-1>(x) }", {"b": 2}),
    Region("(float[40,33] x) => (float[33] y) { a = Constant<value_ints=[0]>() y = ReduceSum<keepdims=0>(x, a) }"),
    Region("(float[40,33] x) => (float[40] y) { a = Constant<value_ints=[1]>() y = ReduceMax<keepdims=0>(x, a) }"),
    Region("(float[40,33] x) => (float y) { y = ReduceMean<keepdims=0>(x) }"),
    Region(
        "(float[4,5,6,7] x) => (float[5,7] y) { a = Constant<value_ints=[0,2]>() y = ReduceMean<keepdims=0>(x, a) }"
    ),
    Region("(float[4,5,6,7] x) => (float[4,6] y) { a = Constant<value_ints=[1,3]>() y = ReduceL2<keepdims=0>(x, a) }"),
    Region("(int64[4,50] x) => (int64[4] y) { a = Constant<value_ints=[1]>() y = ReduceSum<keepdims=0>(x, a) }"),
    Region("(float[4,50] x) => (int64[4,1] y) { y = ArgMax<axis=1>(x) }"),
    Region("(float[n] x) => (float y) { i = ArgMax<axis=0, keepdims=0>(x) y = Cast<to=1>(i) }", {"n": 37}),
    Region("(float[3,0] x) => (float[3] y) { a = Constant<value_ints=[1]>() y = ReduceSum<keepdims=0>(x, a) }"),
    Region(
        "(float[b,s,384] x) => (float[b,384] y) { a = Constant<value_ints=[1]>() y = ReduceMean<keepdims=0>(x, a) }",
        {"b": 2, "s": 9},
    ),
]

WINDOWS = [
    Region(
        "(float[2,32,9,11] x) => (float[2,32,5,6] y) { y = MaxPool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1]>(x) }"
    ),
    Region(
        "(float[2,32,9,11] x) => (float[2,32,5,6] y) { y = MaxPool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1]>(x) }",
        block=16,
    ),
    Region(
        "(float[2,32,9,11] x) => (float[2,32,9,11] y) { y = AveragePool<kernel_shape=[3,3],pads=[1,1,1,1]>(x) }",
        block=16,
    ),
    Region("(float[1,5,10,20] x) => (float[1,5,5,10] y) { y = AveragePool<kernel_shape=[2,2],strides=[2,2]>(x) }"),
    Region(
        "(float[1,5,h,w] x) => (float[1,5,h,w] y) { y = MaxPool<kernel_shape=[3,3],pads=[1,1,1,1]>(x) }",
        {"h": 9, "w": 21},
    ),
]


SHAPES = [
    Region("(float[6,5,8] x) => (float[5,6,8] y) { y = Transpose<perm=[1,0,2]>(x) }"),
    Region("(float[6,5,7] x) => (float[7,5,6] y) { y = Transpose<perm=[2,1,0]>(x) }"),
    Region("(float[b,s,12,64] x) => (float[b,12,s,64] y) { y = Transpose<perm=[0,2,1,3]>(x) }", {"b": 2, "s": 5}),
    Region("(float[1,24,6,5] x, float[1,8,6,5] z) => (float[1,32,6,5] y) { y = Concat<axis=1>(x, z) }", block=8),
    Region("(float[64,10] x, float[64,3] z) => (float[64,13] y) { y = Concat<axis=1>(x, z) }"),
    Region("(float[2,32,6,5] x) => (float[2,16,6,5] y, float[2,16,6,5] z) { y, z = Split<axis=1,num_outputs=2>(x) }", block=16),
    Region("(float[3,40] x) => (float[3,17] y) { a = Constant<value_ints=[1]>() b = Constant<value_ints=[35]>() "
           "c = Constant<value_ints=[1]>() d = Constant<value_ints=[2]>() y = Slice(x, a, b, c, d) }"),
    Region("(float[30,40] x, int64[2,3] i) => (float[2,3,40] y) { y = Gather<axis=0>(x, i) }"),
    Region("(float[30,40] x, int64[b,s] i) => (float[b,s,40] y) { y = Gather<axis=0>(x, i) }", {"b": 1, "s": 4}),
    Region("(float[1,32,5,6] x) => (float[1,32,10,12] y) { s = Constant<value_floats=[1.0,1.0,2.0,2.0]>() "
           'y = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(x, , s) }', block=16),
    Region("(float[1,32,5,6] x) => (float[1,32,10,12] y) { s = Constant<value_floats=[1.0,1.0,2.0,2.0]>() "
           'y = Resize<mode="linear">(x, , s) }', block=16),
    Region("(float[1,24,7,7] x) => (float[1,24,9,8] y) { p = Constant<value_ints=[0,0,1,1,0,0,1,0]>() y = Pad(x, p) }", block=8),
    Region("(float[b,6,4] x) => (float[b,24] y) { s = Constant<value_ints=[0,-1]>() t = Relu(x) y = Reshape(t, s) }", {"b": 3}),
]  # fmt: skip

TWICE = [
    # a stage with a variable of its own, inlined into two others
    Region("(float[8,50] x) => (float[8,50] y) { t = LeakyRelu(x) a = Constant<value_ints=[1]>() "
           "m = ReduceMean<keepdims=1>(t, a) y = Sub(t, m) }"),
    # rows long enough for exponentials to be kept in the output
    Region("(float[3,5001] x) => (float[3,5001] y) { y = Softmax<axis=-1>(x) }"),
    Region("(float[b,n] x) => (float[b,n] y) { y = Softmax<axis=-1>(x) }", {"b": 3, "n": 5}),
]  # fmt: skip

GROUPS = {
    "elementwise": ELEMENTWISE,
    "rows": ROWS,
    "reductions": REDUCTIONS,
    "windows": WINDOWS,
    "shapes": SHAPES,
    "twice": TWICE,
}


@pytest.mark.parametrize("group", GROUPS)
def test_against_onnxruntime(group: str, host: Cpu, caplog: pytest.LogCaptureFixture) -> None:
    compare(GenericKernel(), GROUPS[group], host)
    assert not caplog.records, "a schedule was refused"


def test_avx2(host: Cpu) -> None:
    compare(GenericKernel(), [*ROWS[::3], *REDUCTIONS[::3], *WINDOWS[1:2], *SHAPES[3:5]], machine("x86:avx2"))


def test_tensors_of_bytes_are_joined_by_vectors() -> None:
    """Also where the second one begins in the middle of a vector: none has elements of both."""
    joined = Region(
        "(uint8[1,6,13,13,8] x, uint8[1,5,13,13,8] z) => (uint8[1,11,13,13,8] y) { y = Concat<axis=1>(x, z) }"
    )
    compare(GenericKernel(), [joined], machine())
    cpu = machine("x86:haswell")
    space = GenericKernel().match(joined.workload(), cpu)
    assert isinstance(space, GenericSpace)
    backend = CpuBackend(cpu)
    (point,) = space.points()
    code = backend.assembly(compiled_library({"kernel": space.build(point).func}, backend))
    assert re.search(r"vmovups\s+%ymm\d+, \d*\(", code)
    assert "vpinsrb" not in code
