"""A candidate that keeps registers in memory makes way for one that does not, where that is about as fast."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from dsc.codegen.selection import Candidate, Choice
from dsc.codegen.spills import TOLERATED, Spills
from dsc.lower.workload import Workload
from dsc.pipeline import compile_model
from dsc.targets import Target
from dsc.targets.cuda import Cuda
from dsc.targets.cuda.machines import BY_TAG
from dsc.targets.cuda.toolchain import Assembled
from dsc.targets.resources import KernelResources
from tests.compiled import TextModel
from tests.targets.regions import Region

KERNEL = re.compile(r'extern "C" __global__ void __launch_bounds__\(\d+\) (\w+)\(.*\) {')
MODEL = TextModel("(float[400,300] x, float[300,500] w) => (float[400,500] y) { p = MatMul(x, w) y = Softmax(p) }")


def telling(spills: Callable[[str], bool], made: list[str]) -> Callable[[str, str], Assembled]:
    """An assembler that makes nothing, notes names in `made`, and says which kernels spill."""

    def assemble(source: str, arch: str) -> Assembled:
        said = ""
        for name in KERNEL.findall(source):
            made.append(name)
            size = 24 if spills(name) else 0
            said += (
                f"ptxas info    : Compiling entry function '{name}' for '{arch}'\n"
                f"    {size} bytes stack frame, {size} bytes spill stores, {size // 2} bytes spill loads\n"
                "ptxas info    : Used 40 registers, used 1 barriers, 96 bytes smem, 360 bytes cmem[0]\n"
            )
        return Assembled(b"image", said)

    return assemble


def choices(assemble: Callable[[str, str], Assembled]) -> dict[str, Choice]:
    compiled = compile_model(MODEL.proto(), target=Target(Cuda(assemble), BY_TAG["sm_80"]))
    return {choice.kind: choice for choice in compiled.model.choices}


@pytest.fixture(scope="module")
def first() -> dict[str, Choice]:
    """Where nothing spills."""
    made: list[str] = []
    found = choices(telling(lambda name: False, made))
    assert len(made) == len(found) == 2
    assert not any(choice.spilled for choice in found.values())
    return found


def test_another_point_is_taken_and_only_that_is_compiled_again(
    first: dict[str, Choice], caplog: pytest.LogCaptureFixture
) -> None:
    made: list[str] = []
    others = choices(telling(lambda name: "matmul" in name and made.count(name) == 1, made))
    product = others.pop("matmul")
    assert product.point != first["matmul"].point
    assert product.estimate <= TOLERATED * first["matmul"].estimate
    assert product.resources[0].spilled_bytes == 0
    assert (f"{first['matmul'].kernel} {first['matmul'].point}", 36) in product.spilled
    assert all(choice.point == first[kind].point for kind, choice in others.items())
    assert len([name for name in made if "matmul" not in name]) == 1
    assert re.search(r"keeps 36 bytes of registers in memory on cuda:sm_80; gpu.contraction .* is taken", caplog.text)


def test_where_all_spill_the_fastest_is_kept(first: dict[str, Choice], caplog: pytest.LogCaptureFixture) -> None:
    spilling = choices(telling(lambda name: True, []))
    assert {kind: choice.point for kind, choice in spilling.items()} == {k: choice.point for k, choice in first.items()}
    assert all(choice.resources[0].spilled_bytes == 36 for choice in spilling.values())
    assert "and nothing else is nearly as fast for this softmax" in caplog.text


def candidate(point: str, estimate: float) -> Candidate:
    nothing: Any = None
    return Candidate(SimpleNamespace(name="test.kernel"), nothing, point, estimate)  # type: ignore[arg-type]


def choice(workload: Workload, point: str, spilled: int) -> Choice:
    used = KernelResources("k", 64, 40, spilled, spilled, 0, 8, 0.5)
    return Choice("k", "kind", workload.key(), "test.kernel", point, 1.0, (), 1, resources=(used,))


def test_one_that_is_much_slower_is_not_taken() -> None:
    workload, spills = Region("(float[3] x) => (float[3] y) { y = Relu(x) }").workload(), Spills()
    near, far = candidate("near", TOLERATED), candidate("far", TOLERATED + 0.01)
    assert spills.fastest(workload, [candidate("first", 1.0), near, far]).point == "first"
    assert spills.note([choice(workload, "first", 8)])
    assert not spills.note([choice(workload, "first", 8), choice(workload, "near", 0)])
    assert spills.fastest(workload, [candidate("first", 1.0), near, far]).point == "near"
    assert spills.fastest(workload, [candidate("first", 1.0), far]).point == "first"
    other = Region("(float[4] x) => (float[4] y) { y = Relu(x) }").workload()
    assert spills.fastest(other, [candidate("first", 1.0), near]).point == "first"
