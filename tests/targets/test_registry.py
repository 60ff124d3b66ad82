"""Targets by name, families by object, and those of third parties."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import pytest

import dsc
from dsc import targets
from dsc.errors import UsageError
from dsc.lower.workload import Workload
from dsc.pipeline import compile_model
from dsc.targets import Kernel, Refusal, Target, registry
from dsc.targets.cpu.generic.kernel import GenericKernel
from dsc.targets.cpu.machine import Cpu
from dsc.targets.x86 import X86


class Toy(X86):
    """x86 by another name, and with the generic kernel alone."""

    name = "toy"

    def kernels(self, machine: Cpu) -> Sequence[Kernel[Cpu]]:
        return (GenericKernel(),)

    def passes(self, machine: Cpu) -> str:
        return ""


@dataclass(frozen=True)
class Entry:
    """Stands for an entry point."""

    name: str
    load: Callable[[], object]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    def install(*entries: Entry) -> None:
        monkeypatch.setattr(registry, "entry_points", lambda group: entries)
        registry._installed.cache_clear()

    yield install
    registry._installed.cache_clear()


def relu() -> onnx.ModelProto:
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [3, 7]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])


def test_a_package_adds_a_family(installed: Callable[..., None]) -> None:
    installed(Entry("toy", lambda: Toy))
    assert "toy:haswell" in targets.tags()
    found = targets.target("toy:haswell")
    assert [kernel.name for kernel in found.kernels()] == ["cpu.generic"]
    assert "layout" not in str(dsc.pipeline.preset(2, found))
    with pytest.raises(UsageError, match=r"unknown target 'riscv': known families are arm, cuda, rocm, toy, x86"):
        targets.target("riscv")


def test_a_subclass_of_a_family_is_another_family() -> None:
    """It was given x86's kernels, as its machines' names begin with x86."""
    ours = Target(Toy(), targets.target("x86").machine)
    compilation = compile_model(relu(), target=ours)
    assert {choice.kernel for choice in compilation.model.choices} == {"cpu.generic"}


def test_a_machine_may_have_any_name() -> None:
    """``Machine(name="mine")`` ended in a KeyError."""
    mine = Target(X86(), replace(targets.target("x86").machine, name="mine"))
    module = dsc.compile(relu(), target=mine)
    assert module.manifest.target == "mine"
    x = np.random.default_rng(0).standard_normal((3, 7), np.float32)
    np.testing.assert_array_equal(module.run({"x": x})["y"], np.maximum(x, 0))


class NoTags(X86):
    """Breaks when it is asked what it has."""

    def tags(self) -> Sequence[str]:
        raise NotImplementedError("tags")


def _missing() -> object:
    raise ImportError("No module named 'toolchain'")


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (_missing, "ImportError: No module named 'toolchain'"),
        (lambda: NoTags, "NotImplementedError: tags"),
        (lambda: lambda: 1 / 0, "ZeroDivisionError"),
        (lambda: lambda: object(), "AttributeError"),
    ],
)
def test_a_broken_family_is_named_and_left_out(
    load: Callable[[], object], said: str, installed: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    installed(Entry("broken", load), Entry("toy", lambda: Toy))
    assert set(targets.families()) == {"arm", "cuda", "rocm", "x86", "toy"}
    assert f"target family broken is left out: {said}" in caplog.text
    compile_model(relu(), target="x86")


def test_a_family_does_not_take_the_place_of_ours(installed: Callable[..., None]) -> None:
    installed(Entry("x86", lambda: Toy))
    assert type(targets.families()["x86"]) is X86


@dataclass(frozen=True)
class Never:
    """A kernel of a plugin, for nothing."""

    name: str = "plugin.never"

    def match(self, workload: Workload, machine: Cpu) -> Refusal:
        return Refusal("for nothing")


def test_a_plugin_adds_a_kernel_to_a_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_kernels", {})
    targets.register_kernel(Never(), family="x86")
    found = [kernel.name for kernel in targets.target("x86:haswell").kernels()]
    assert found == ["plugin.never", *(kernel.name for kernel in X86().kernels(X86().machine("haswell")))]
    choices = compile_model(relu(), target="x86").model.choices
    assert ("plugin.never", "for nothing") in choices[0].refusals
