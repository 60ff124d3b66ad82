"""A kernel that fails does not end the compile: the next one is taken, and the report says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import tvm
from tvm import tirx

from dsc.codegen import Candidate, build
from dsc.codegen.selection import fastest_by_estimate
from dsc.errors import UnsupportedModelError
from dsc.ir import Graph, onnx, tensor
from dsc.lower.workload import Workload
from dsc.targets import AnyTarget, Implementation, Target
from dsc.targets.cpu.generic.kernel import GenericSpace
from dsc.targets.cpu.machine import Cpu
from dsc.targets.kernel import Kernel, Refusal
from dsc.targets.x86 import X86
from dsc.tune import Database, Tuner
from tests.codegen.reference import HOST

X = np.random.default_rng(0).standard_normal((3, 7)).astype(np.float32)


def _graph() -> Graph:
    graph = Graph.build([("x", tensor("float32", (3, 7)))])
    made = onnx.Exp.make(graph.inputs[0])
    graph.body.add_op(made)
    graph.set_outputs([("y", made.out)])
    return graph


@dataclass(frozen=True, eq=False)
class _Broken(GenericSpace):
    """The generic kernel's space, but faster by its own account, and it fails at `stage`."""

    stage: str = ""

    def estimate(self, point: object) -> float:
        if self.stage == "estimate":
            raise ZeroDivisionError("no cores")
        return 1e-12

    def build(self, point: object) -> Implementation:
        if self.stage == "build":
            raise tvm.error.InternalError("Check failed: a schedule")
        good = super().build(point)  # type: ignore[arg-type]
        unknown = tirx.Evaluate(tirx.call_llvm_pure_intrin("float32", "llvm.exp.f32", tirx.const("text")))
        return replace(good, func=good.func.with_body(tirx.SeqStmt([unknown, good.func.body])))


@dataclass(frozen=True)
class _Kernel:
    stage: str
    name: str = "test.broken"

    def match(self, workload: Workload, machine: Cpu) -> _Broken | Refusal:
        if self.stage == "match":
            raise IndexError("list index out of range")
        return _Broken(workload, machine, stage=self.stage)


class _OnlyBroken(X86):
    """A family of one kernel, which fails."""

    def kernels(self, machine: Cpu) -> Sequence[Kernel[Cpu]]:
        return (_Kernel("build"),)


def _with(kernel: _Kernel) -> AnyTarget:
    return replace(HOST, added=(kernel,))


@pytest.mark.parametrize("opt_level", [2, 3])
@pytest.mark.parametrize("stage", ["match", "estimate", "build", "llvm"])
def test_the_next_kernel_is_taken(stage: str, opt_level: int, caplog: pytest.LogCaptureFixture) -> None:
    target = _with(_Kernel(stage))
    chooser = Tuner(target, 1.0, Database()) if opt_level == 3 else fastest_by_estimate
    compiled = build(_graph(), target, chooser)
    np.testing.assert_allclose(compiled.load(1).run({"x": X})["y"], np.exp(X), rtol=1e-6)
    (choice,) = compiled.choices
    assert choice.kernel != "test.broken"
    assert "test.broken" in caplog.text
    if (stage, opt_level) not in (("build", 3), ("llvm", 3)):  # where it was never measured, it was never chosen
        assert [kernel for kernel, _ in choice.failures] == ["test.broken"]


def test_where_no_kernel_is_left_its_error_is_raised() -> None:
    with pytest.raises(tvm.error.InternalError, match="a schedule"):
        build(_graph(), Target(_OnlyBroken(), HOST.machine))


def test_a_chooser_that_fails_is_no_kernel() -> None:
    def refuse(workload: Workload, found: object) -> Candidate:
        raise UnsupportedModelError("none of these")

    with pytest.raises(UnsupportedModelError, match="none of these"):
        build(_graph(), HOST, refuse)
