# ruff: noqa: E501 - graphs are written on one line
"""What workloads demand: multiply-adds, by definition of the operators, and bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dsc.codegen import build
from dsc.exchange import import_model
from dsc.ir import FusionOp
from dsc.lower.demand import Demand, demand
from dsc.lower.workload import Workload
from dsc.pipeline import compile_model
from dsc.targets import target
from dsc.targets.bound import bound
from tests.compiled import TextModel
from tests.targets.chosen_keys import ChosenAttention, text
from tests.targets.regions import Region
from tests.targets.windowed_attention import WindowedAttention, band

PASSES = "canonicalize,fuse,layout{block=16},precision{type=float16}"
DEMANDS = {
    "(float[7,30] a, float[30,19] b) => (float[7,19] y) { p = MatMul(a, b) y = Relu(p) }": (7 * 30 * 19, "float32", 4 * (7 * 30 + 30 * 19 + 7 * 19)),
    "(float16[2,6,7,9] x, float16[5,6,3,3] w) => (float16[2,5,7,9] y) { y = Conv<pads=[1,1,1,1]>(x, w) }": (2 * 5 * 7 * 9 * 6 * 9, "float16", 2 * (2 * 6 * 63 + 5 * 54 + 2 * 5 * 63)),
    "(float[1,6,9,9] x, float[6,1,3,3] w) => (float[1,6,7,7] y) { y = Conv<group=6>(x, w) }": (6 * 49 * 9, "float32", 4 * (6 * 81 + 54 + 6 * 49)),
    # both products of attention; scores are not in memory
    "(float[2,70,24] q, float[2,24,60] k, float[2,60,16] v) => (float[2,70,16] y) { p = MatMul(q, k) w = Softmax(p) y = MatMul(w, v) }": (2 * 70 * 60 * (24 + 16), "float32", 4 * 2 * (70 * 24 + 24 * 60 + 60 * 16 + 70 * 16)),
    "(uint8[9,32] x, int8[32,20] w) => (int32[9,20] y) { y = MatMulInteger(x, w) }": (9 * 32 * 20, "uint8", 9 * 32 + 32 * 20 + 4 * 180),
    # of a table, the rows that are taken; of a slice, what it takes
    "(float[1000,8] x, int64[4] i) => (float[4,8] y) { y = Gather(x, i) }": (0, "float32", 4 * 32 + 8 * 4 + 4 * 32),
    "(float[100,40] x) => (float[10,40] y) { s = Constant<value_ints=[3]>() e = Constant<value_ints=[13]>() y = Slice(x, s, e) }": (0, "float32", 4 * 800),
    "(float[6,50] x) => (float[6,50] y) { y = Softmax(x) }": (0, "float32", 4 * 600),
    "(float[9] x, int64[3] i, float[3] u) => (float[9] y) { y = ScatterElements(x, i, u) }": (0, "float32", 4 * 9 + 8 * 3 + 4 * 3 + 4 * 9),
}  # fmt: skip


def test_an_attention_within_a_window_multiplies_what_it_sees() -> None:
    text = "(float[2,70,24] q, float[2,24,70] k, float[2,70,16] v) => (float[2,70,16] y) { p = MatMul(q, k) w = Softmax(p) y = MatMul(w, v) }"
    found = demand(WindowedAttention(text, window=9).workload())
    assert found is not None
    assert found.multiply_adds == 2 * band(70, 9).sum() * (24 + 16)


@pytest.mark.parametrize("text", DEMANDS)
def test_multiply_adds_and_bytes(text: str) -> None:
    products, element, moved = DEMANDS[text]
    assert demand(Region(text).workload()) == Demand(products, element, 0, moved)


def test_factors_that_may_be_rounded_are_of_the_type_they_are_rounded_to() -> None:
    workload = Region("(float[7,30] a, float[30,19] b) => (float[7,19] y) { y = MatMul(a, b) }").workload()
    rounded = demand(replace(workload, multiplied_as="tfloat32"))
    assert rounded == replace(demand(workload) or Demand(0, "", 0, 0), element="tfloat32")


def test_half_precision_and_packed_images_multiply_halves() -> None:
    """Casts, padding and the moves of a packed image lie between memory and the products."""
    weight = np.random.default_rng(0).standard_normal((16, 32, 3, 3)).astype(np.float32)
    text = "(float[1,32,9,9] x) => (float[1,16,9,9] y) { r = Relu(x) c = Conv<pads=[1,1,1,1]>(r, w) y = Sigmoid(c) }"
    graph = compile_model(TextModel(text, {"w": weight}).proto(), target="x86:avx2", passes=PASSES).graph
    (conv,) = [op for op in graph.ops() if isinstance(op, FusionOp) and op.kind.data == "conv"]
    found = demand(Workload.of(conv))
    assert found is not None
    assert (found.element, found.multiply_adds) == ("float16", 16 * 81 * 32 * 9)


def test_sizes_that_a_run_tells_demand_nothing_yet() -> None:
    assert demand(Region("(float[n,8] x) => (float[n,8] y) { y = Relu(x) }", {"n": 3}).workload()) is None


def test_a_report_has_them_for_each_kernel_and_weights_are_told_apart() -> None:
    """Two products of one shape are one kernel that is called twice."""
    random = np.random.default_rng(0)
    weights = {name: random.standard_normal((24, 24)).astype(np.float32) for name in ("v", "w")}
    model = TextModel("(float[5,24] x) => (float[5,24] y) { h = MatMul(x, v) y = MatMul(h, w) }", weights)
    compiled = build(import_model(model.proto()), target("x86:avx2"))
    (choice,) = compiled.choices
    assert choice.calls == 2
    assert choice.demand == Demand(5 * 24 * 24, "float32", 4 * 24 * 24, 2 * 4 * 5 * 24)
    assert choice.bound is not None
    assert 0 < choice.bound.seconds < choice.estimate
    assert not choice.resources


def test_bounds_are_the_machines_figures() -> None:
    """An A100 (white paper): 312 TFLOP/s of halves on tensor cores, 19.5 of float32, 1555 GB/s, 40 MB of L2."""
    machine = target("cuda:sm_80").machine
    large = Demand(10**12, "float16", 0, 8)
    assert bound(machine, large, 0.0).seconds == pytest.approx(2e12 / 312e12, rel=0.01)
    assert bound(machine, Demand(10**12, "float32", 0, 8), 0.0).seconds == pytest.approx(2e12 / 19.5e12, rel=0.01)
    assert bound(machine, Demand(10**12, "float64", 0, 8), 0.0).compute_seconds > 0  # no row of its own


def test_weights_come_from_memory_unless_all_of_them_fit_the_cache() -> None:
    machine = target("cuda:sm_80").machine
    layer = Demand(0, "float32", 1 << 20, 1 << 20)
    small, large = bound(machine, layer, 4e6), bound(machine, layer, 400e6)
    assert small.seconds == pytest.approx((2 << 20) / 5400e9)
    assert large.seconds == pytest.approx((1 << 20) / 1555e9)
    both = bound(machine, Demand(0, "float32", 1 << 20, 1 << 30), 400e6)
    assert both.seconds == pytest.approx(((1 << 20) + (1 << 30)) / 1555e9)


def test_an_attention_to_chosen_keys_multiplies_what_it_keeps() -> None:
    found = demand(ChosenAttention(text((2, 320)), options="keep=0.25").workload())
    assert found is not None
    assert found.multiply_adds == 2 * 2 * 320 * 320 * (24 + 24) // 4
