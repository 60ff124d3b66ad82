# ruff: noqa: E501 - graphs are written on one line
"""Kernels for AMD's GPUs, run on the simulated device and compared with ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from dsc.check.simulated import simulated
from dsc.pipeline import compile_model
from dsc.simulator import KernelError, simulated_kernels, simulated_rocm
from dsc.targets import target
from dsc.targets.gpu.attention import Attention
from dsc.targets.gpu.contraction import Contract
from dsc.targets.gpu.generic.kernel import Generic
from dsc.targets.gpu.rows import ReduceRows
from dsc.targets.gpu.transpose import Transpose
from tests.targets.cuda.simulated import check, every
from tests.targets.regions import Region
from tests.targets.rocm.direct import launch
from tests.targets.rocm.test_backend import model

GENERIC = [
    Region("(float[7,33] x, float[33] b) => (float[7,33] y) { s = Add(x, b)  e = Erf(s)  y = Mul(e, x) }"),
    Region("(float[5,9] x) => (float[5,9] y) { s = Sin(x)  t = Atan(s)  y = Sinh(t) }"),
    Region("(float16[5,9] x) => (float16[5,9] y) { f = Floor(x)  t = Tanh(x)  y = Add(f, t) }", atol=2e-3),
    Region("(double[5,9] x) => (double[5,9] y) { y = Exp(x) }"),
    Region("(float[3,300] x) => (float[3,300] y) { y = Softmax(x) }"),
    Region("(float[20,7] x) => (float[20,7] y) { y = Softmax(x) }"),
    Region("(float[5,77] x, float[77] s, float[77] b) => (float[5,77] y) { y = LayerNormalization(x, s, b) }"),
    Region("(int64[3,100] x) => (int64[1,1] y) { y = ReduceSum(x) }"),
    Region("(float[1,6,9,9] x, float[6,1,3,3] w) => (float[1,6,7,7] y) { y = Conv<group=6>(x, w) }"),
    Region(
        "(float[6,5] x) => (float[6,6] y) { p = Transpose<perm=[1,0]>(x) t = MatMul(x, p) y = Softmax<axis=-1>(t) }"
    ),
    Region("(float[9] x, int64[3] i, float[3] u) => (float[9] y) { a = Abs(u)  y = ScatterElements(x, i, a) }"),
]
ROWS = [
    Region(
        "(float16[5,768] x, float[768] s) => (float16[5,768] y) { c = Cast<to=1>(x) t = LayerNormalization(c, s) y = Cast<to=10>(t) }",
        atol=4e-3,
    ),
    Region("(float[3,769] x) => (float[3,769] y) { y = Softmax(x) }"),
    Region("(float[3,5000] x) => (int64[3] y) { y = ArgMax<axis=1, keepdims=0>(x) }"),
    Region("(float[2,5000] x) => (float[2,1] y) { a = Constant<value_ints=[1]>() y = ReduceLogSumExp(x, a) }"),
    Region("(float[2,12,7,7] x) => (float[2,12,1,1] y) { y = GlobalAveragePool(x) }", block=4),
]
PRODUCTS = [
    Region("(float[37,50] a, float[50,67] b) => (float[37,67] y) { p = MatMul(a, b)  y = Relu(p) }"),
    Region("(float[1,5,9,11] x, float[7,5,3,3] w) => (float[1,7,9,11] y) { y = Conv<pads=[1,1,1,1]>(x, w) }"),
]
ATTENTION = "(float[2,21,24] q, float[2,24,19] k, float[2,19,24] v) => (float[2,21,24] y) { p = MatMul(q, k)  w = Softmax(p)  y = MatMul(w, v) }"


@pytest.mark.parametrize("arch", ["gfx942", "gfx1100"])
def test_workloads(arch: str) -> None:
    """Wavefronts of 64 and of 32 threads; the last threads first, so that a barrier that is missing shows."""
    with simulated_rocm(arch, order="reverse") as simulation:
        check(Generic(), GENERIC, simulation)
        check(ReduceRows(), ROWS, simulation)
        check(Contract(), PRODUCTS, simulation)
        check(
            Transpose(),
            [Region("(float[5,17,9] x) => (float[9,5,17] y) { y = Transpose<perm=[2,0,1]>(x) }")],
            simulation,
        )


def test_attention() -> None:
    with simulated_rocm("gfx942", order=5) as simulation:
        check(Attention(), [Region(ATTENTION)], simulation)


def test_memory_that_is_used_again_for_another_type() -> None:
    """The sums that threads share are floats for the extreme, then integers for its place."""
    region = Region("(float16[3,300] x) => (int64[3,1] y) { y = ArgMin<axis=1,select_last_index=1>(x) }")
    with simulated_rocm("gfx942", order=3) as simulation:
        check(Generic(), [region], simulation, every)


def test_what_a_kernel_breaks_is_told() -> None:
    """An output smaller than what it was compiled for, with the line of LLVM's code."""
    found = launch("gfx942", Region("(float[7,33] x) => (float[7,33] y) { y = Neg(x) }"))
    arrays = [np.ones(231, np.float32), np.ones(200, np.float32)]
    with (
        pytest.raises(
            KernelError, match=r"kernel k_kernel, .* writes 4 bytes of global memory out of bounds"
        ) as raised,
        simulated_kernels("gfx942") as simulation,
    ):
        found.run(simulation, found.code, arrays)
    assert "store float" in raised.value.fault.line


def test_a_whole_model() -> None:
    """Its plan in order, with its buffers, as the artifact has it."""
    x = np.random.default_rng(4).standard_normal((3, 3, 17, 17), np.float32)
    session = onnxruntime.InferenceSession(model().SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x})
    with simulated(target("rocm:gfx942"), order="reverse") as (onto, simulation):
        found = compile_model(model(), target=onto).model.load(1).run({"x": x})["y"]
        launches = sum(counters.launches for counters in simulation.counters().values())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert launches == 4
