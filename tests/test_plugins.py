"""Plugin files: what they add is found, and what does not work is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsc import targets
from dsc.errors import UsageError
from dsc.plugins import load_plugin
from dsc.runtime import devices
from dsc.targets import registry

FAMILY = """
from dsc.runtime.devices import register_device
from dsc.runtime.devices.cpu import Cpu
from dsc.targets import register_family, register_kernel
from dsc.targets.cpu.generic.kernel import GenericKernel
from dsc.targets.x86 import X86


class Mine(X86):
    name = "mine"


register_family(Mine())
register_kernel(GenericKernel("mine.generic"), family="mine")
register_device(Cpu("mine-cpu"))
"""


@pytest.fixture(autouse=True)
def nothing_else_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_added", {})
    monkeypatch.setattr(registry, "_kernels", {})
    monkeypatch.setattr(devices.registry, "_added", {})


def test_families_kernels_and_devices(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(FAMILY)
    assert load_plugin(path) == ["mine", "mine.generic", "mine-cpu"]
    assert targets.target("mine:haswell").kernels()[0].name == "mine.generic"
    assert devices.device("mine-cpu", "test").name == "mine-cpu"


def test_a_file_may_be_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(FAMILY)
    assert load_plugin(path) == load_plugin(path)
    assert [kernel.name for kernel in targets.target("mine:haswell").kernels()].count("mine.generic") == 1


def test_plugins_that_do_not_work_are_refused(tmp_path: Path) -> None:
    broken, empty = tmp_path / "broken.py", tmp_path / "empty.py"
    broken.write_text("1 / 0")
    empty.write_text("x = 1")
    with pytest.raises(UsageError, match="cannot be loaded: ZeroDivisionError"):
        load_plugin(broken)
    with pytest.raises(UsageError, match="adds nothing: it defines no pass"):
        load_plugin(empty)
    with pytest.raises(UsageError, match="is not a Python file"):
        load_plugin(tmp_path / "none.py")
