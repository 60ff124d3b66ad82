"""A workload is lowered once, and the sum of products in it is found."""

from __future__ import annotations

import pytest

from dsc.lower.te import interface, lowered
from dsc.lower.workload import once
from tests.targets.regions import Region

PRODUCTS = {
    "MatMul": "(float[3,4] x, float[4,5] w) => (float[3,5] y) { p = MatMul(x, w) y = Relu(p) }",
    "Gemm": "(float[4,3] x, float[4,5] w, float[5] c) => (float[3,5] y)"
    " { p = Gemm<transA=1, alpha=0.5, beta=2.0>(x, w, c) y = Relu(p) }",
    "Conv": "(float[1,4,8,8] x, float[5,4,3,3] w, float[5] c) => (float[1,5,8,8] y)"
    " { p = Conv<pads=[1,1,1,1]>(x, w, c) y = Relu(p) }",
}


def test_all_who_ask_are_given_the_same_tensors() -> None:
    workload = Region(PRODUCTS["Gemm"]).workload()
    assert lowered(workload) is lowered(workload)
    assert all(a.same_as(b) for a, b in zip(interface(workload).inputs, lowered(workload).inputs, strict=True))


@pytest.mark.parametrize("name", PRODUCTS)
def test_the_stage_that_sums_comes_before_scale_and_bias(name: str) -> None:
    workload = Region(PRODUCTS[name]).workload()
    anchor = next(op for op in workload.body if op.name == f"onnx.{name}")
    result, summed = lowered(workload).tensor(anchor.results[0]), lowered(workload).summed(anchor.results[0])
    assert len(summed.op.reduce_axis) > 0
    assert (result.op.same_as(summed.op)) == (name == "MatMul")


def test_what_is_computed_once_is_computed_once_for_each_workload() -> None:
    asked = []

    @once
    def number(workload: object) -> int:
        asked.append(workload)
        return len(asked)

    first, second = Region(PRODUCTS["MatMul"]).workload(), Region(PRODUCTS["MatMul"]).workload()
    assert [number(first), number(second), number(first)] == [1, 2, 1]
