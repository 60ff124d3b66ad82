"""Elementary functions on a CPU: accuracy over the whole range, and that vectors of them are vector code."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import s_tir, te
from tvm.ir import Expr
from tvm.s_tir import Schedule

from dsc.lower import composed, functions
from dsc.lower.floats import opaque_tensors
from dsc.lower.tensors import elementwise
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.functions import FUNCTIONS as EXPANSIONS
from dsc.targets.cpu.functions.polynomials import near_exp
from dsc.targets.cpu.generic.kernel import GenericKernel
from dsc.targets.cpu.generic.stages import CALL_COST, Body
from tests.kernels import compiled, compiled_library, machine
from tests.targets.regions import Region, implement

BACKEND = CpuBackend(machine("x86:x86-64-v3"))
"""AVX2, on any x86-64 machine of the last ten years."""
TINY = np.finfo(np.float32).tiny
LANES = 8

TOLERANCE = {"float16": 2e-3, "float32": 1e-6, "float64": 1e-14}
"""A few units in the last place; float64 is as exact as C's library."""

FUNCTIONS: dict[str, tuple[Callable[[Expr], Expr], Callable[[np.ndarray], np.ndarray]]] = {
    "exp": (functions.exp, np.exp),
    "log": (functions.log, np.log),
    "log1p": (functions.log1p, np.log1p),
    "tanh": (lambda x: functions.function("tanh", x), np.tanh),
    "erf": (functions.erf, np.vectorize(math.erf, otypes=[float])),
    "sigmoid": (composed.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "softplus": (composed.softplus, lambda x: np.logaddexp(0, x)),
    "pow 1/4": (lambda x: composed.power(x, 0.25), lambda x: np.power(x, 0.25)),
    "pow -3/2": (lambda x: composed.power(x, -1.5), lambda x: np.power(x, -1.5)),
    "pow -2": (lambda x: composed.power(x, -2.0), lambda x: np.power(x, -2.0)),
    "pow 7": (lambda x: composed.power(x, 7.0), lambda x: np.power(x, 7.0)),
}


def samples() -> np.ndarray:
    rng = np.random.default_rng(7)
    decades = 10.0 ** rng.uniform(-44, 38.5, 20_000)
    special = [0, -0.0, np.inf, -np.inf, np.nan, 88.72, 88.73, -87.3, 3.4e38, -3.4e38, 1e-40, -1e-45, 1]
    x = np.concatenate([np.linspace(-110, 110, 80_000), rng.standard_normal(20_000), decades, -decades, special])
    return np.resize(x, -(-len(x) // LANES) * LANES).astype(np.float32)


X = samples()


def build(function: Callable[[Expr], Expr]) -> tvm.runtime.Module:
    """`function` of as many elements as there are samples, in vectors of 8."""
    x = te.placeholder(X.shape, "float32", name="x")
    schedule = Schedule(te.create_prim_func(opaque_tensors([x, elementwise(function, x, name="y")])))
    (loop,) = schedule.get_loops(schedule.get_sblock("y"))
    _, lanes = schedule.split(loop, [None, LANES])
    schedule.vectorize(lanes)
    # simplified more than once, as kernels are: roundings on purpose must survive it
    module = s_tir.transform.StmtSimplify()(s_tir.transform.StmtSimplify()(schedule.mod))
    return compiled_library({"kernel": module["main"]}, BACKEND)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_accuracy_and_special_values(name: str) -> None:
    function, reference = FUNCTIONS[name]
    result = tvm.runtime.tensor(np.zeros_like(X))
    build(function)["kernel"](tvm.runtime.tensor(X), result)
    got = result.numpy()
    with np.errstate(all="ignore"):
        exact = reference(X.astype(np.float64))
        rounded = exact.astype(np.float32)
    normal = np.isfinite(rounded) & (np.abs(rounded) > 2 * TINY)
    assert np.max(np.abs(got[normal] / exact[normal] - 1)) < 5e-7
    tiny = np.isfinite(rounded) & ~normal  # may be flushed to zero
    assert np.all(np.abs(got[tiny] - exact[tiny]) <= 2 * TINY)
    rest = ~np.isfinite(rounded)
    np.testing.assert_array_equal(got[rest], rounded[rest])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vector_code_without_calls_and_branches(name: str) -> None:
    assembly = build(FUNCTIONS[name][0]).inspect_source("asm")
    loop = assembly[assembly.index("kernel_compute_:") :]
    loop = loop[: loop.index(".Lfunc_end")]
    assert "%ymm" in loop
    assert not re.search(r"\bcall", loop)
    assert len(re.findall(r"\bj[a-z]+\s", loop)) <= 2  # of the loop over vectors


def test_half_precision_goes_through_float32() -> None:
    x = te.placeholder((4,), "float16", name="x")
    func = te.create_prim_func([x, elementwise(functions.exp, x, name="y")])
    values = np.array([-1.5, 0, 2.25, 9], np.float16)
    result = tvm.runtime.tensor(np.zeros_like(values))
    compiled(func, BACKEND)(tvm.runtime.tensor(values), result)
    np.testing.assert_allclose(result.numpy(), np.exp(values.astype(np.float32)), rtol=1e-3)  # half an ulp of half


@pytest.mark.parametrize("name", ["tanh", "erf"])
@pytest.mark.parametrize("cpu", ["x86-64-v2", "x86-64-v3"])
def test_limits_are_exact(name: str, cpu: str) -> None:
    """With fused multiply-adds and without."""
    x = te.placeholder((4,), "float32", name="x")
    func = te.create_prim_func(opaque_tensors([x, elementwise(FUNCTIONS[name][0], x, name="y")]))
    backend = CpuBackend(machine(f"x86:{cpu}"))
    result = tvm.runtime.tensor(np.zeros(4, np.float32))
    given = tvm.runtime.tensor(np.array([-np.inf, -50, 10, np.inf], np.float32))
    compiled(func, backend)(given, result)
    assert result.numpy().tolist() == [-1, -1, 1, 1]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", functions.NAMES)
def test_all_functions_of_all_types(name: str, dtype: str) -> None:
    operands = [te.placeholder((9,), dtype, name=f"x{i}") for i in range(2 if name in ("pow", "fmod") else 1)]
    result = elementwise(lambda *x: functions.function(name, *x), *operands, name="y")
    random = np.random.default_rng(5)
    arrays = [(random.uniform(0.05, 0.95, 9) + (name == "acosh")).astype(dtype) for _ in operands]
    found = tvm.runtime.tensor(np.zeros(9, dtype))
    func = te.create_prim_func([*operands, *opaque_tensors([result])])
    compiled(func, BACKEND)(*map(tvm.runtime.tensor, arrays), found)
    expected = np.vectorize(getattr(math, name))(*(a.astype(np.float64) for a in arrays))
    np.testing.assert_allclose(found.numpy(), expected, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("name", ["exp", "log", "log1p", "tanh", "erf"])
def test_schedules_count_what_the_expansion_costs(name: str) -> None:
    x = te.placeholder((8,), "float32", name="x")
    tensors = opaque_tensors([elementwise(EXPANSIONS[name], x, name="y", bind=True)])
    blocks: list[s_tir.SBlock] = []
    tvm_ffi.structural_walk(te.create_prim_func([x, *tensors]).body, (s_tir.SBlock, blocks.append))
    (block,) = (block for block in blocks if block.name_hint == "y")
    assert Body.of(block.body).cost == CALL_COST[name]


def test_neighbours_of_a_library_call_stay_vectors() -> None:
    """Nothing is inlined into such a call, nor it elsewhere: TVM takes a statement on vectors apart that has one."""
    host, flow = machine("x86:avx2"), "a = Exp(x) b = Tanh(a) c = Sin(b) d = Tanh(c) y = Exp(d)"
    region = Region(f"(float[64,1024] x) => (float[64,1024] y) {{ {flow} }}")
    func = implement(GenericKernel(), region, host).func
    assembly = compiled_library({"kernel": func}, CpuBackend(host)).inspect_source("asm")
    assert "sinf" in assembly
    divisions = re.findall(r"vdiv.*", assembly)  # of the rational functions for tanh
    assert divisions
    assert all("%ymm" in division for division in divisions)


def test_near_exp_is_a_tenth_of_a_rounding_to_bfloat16_off() -> None:
    """Of all that a softmax takes the exponential of: nothing is positive, -inf gives 0 and 0 gives 1, NaN stays."""
    result = tvm.runtime.tensor(np.zeros_like(X))
    given = np.where(X > 0, -X, X).astype(np.float32)
    build(near_exp)["kernel"](tvm.runtime.tensor(given), result)
    got, exact = result.numpy(), np.exp(given.astype(np.float64))
    normal = exact > 2 * TINY
    errors = np.abs(got[normal] / exact[normal] - 1)
    assert 5e-5 < errors.max() < 1.1e-4
    assert np.all(np.abs(got[~normal & ~np.isnan(given)]) <= 2 * TINY)
    np.testing.assert_array_equal(got[given == -np.inf], 0)
    np.testing.assert_array_equal(got[given == 0], 1)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(given))
