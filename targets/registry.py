"""Finding machines and kernels by tag: ``x86``, ``x86:znver4``, or a family that a third party adds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Protocol

from dsc.errors import UsageError
from dsc.targets.kernel import Kernel
from dsc.targets.machine import Machine

ENTRY_POINT_GROUP = "dsc.targets"


class Family(Protocol):
    """Machines that share kernels. Third parties add one under the entry point group ``dsc.targets``."""

    @property
    def name(self) -> str:
        """What stands before the colon of a tag: ``x86``."""
        ...

    def tags(self) -> Sequence[str]:
        """Names that may stand after the colon."""
        ...

    def machine(self, tag: str) -> Machine:
        """The machine of that name; ``native`` is the host. Raises `UsageError` for an unknown one."""
        ...

    def kernels(self, machine: Machine) -> tuple[Kernel, ...]:
        """Kernels in order of preference between equal estimates; the last takes any workload."""
        ...


@cache
def families() -> dict[str, Family]:
    """All families by name: those of dsc and those installed under the entry point group."""
    from dsc.targets.x86 import X86

    found: dict[str, Family] = {"x86": X86()}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name not in found:
            found[entry.name] = entry.load()()
    return found


def machine(target: str = "x86") -> Machine:
    """The machine `target` names: ``family`` (the host) or ``family:tag``. Raises `UsageError` for others."""
    family, _, tag = target.partition(":")
    if family not in families():
        raise UsageError(f"unknown target {target!r}: known families are {', '.join(sorted(families()))}")
    return families()[family].machine(tag or "native")


def kernels(machine: Machine) -> tuple[Kernel, ...]:
    """The kernels for `machine`, the one that takes anything last."""
    return families()[machine.name.partition(":")[0]].kernels(machine)


def tags() -> tuple[str, ...]:
    """Every target that can be named, sorted."""
    return tuple(sorted(f"{name}:{tag}" for name, family in families().items() for tag in family.tags()))
