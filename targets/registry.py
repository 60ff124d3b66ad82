"""Finding targets by name: ``x86``, ``x86:znver4``, or a family that a package or a plugin adds."""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from dsc.errors import UsageError
from dsc.targets.family import AnyTarget, Family, Target
from dsc.targets.kernel import Kernel

_LOG = logging.getLogger(__name__)
ENTRY_POINT_GROUP = "dsc.targets"
"""Under which a package names its families: the entry is a class, or a function, that gives one."""
DEFAULT_TARGET = "x86"
"""The host's machine of this family is what is compiled for where nobody says otherwise."""
_added: dict[str, Family[Any]] = {}
_kernels: dict[str, list[Kernel[Any]]] = {}

F = TypeVar("F", bound=Family[Any])


def families() -> dict[str, Family[Any]]:
    """All families by name: those of dsc, of installed packages, and of plugins."""
    return {**_installed(), **_added}


@cache
def _installed() -> dict[str, Family[Any]]:
    from dsc.targets.cuda import Cuda
    from dsc.targets.x86 import X86

    found: dict[str, Family[Any]] = {"x86": X86(), "cuda": Cuda()}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name not in found and (family := _loaded(entry)) is not None:
            found[entry.name] = family
    return found


def _loaded(entry: EntryPoint) -> Family[Any] | None:
    """The family of an entry point; None, and a warning, for one that is broken."""
    try:
        family: Family[Any] = entry.load()()
        family.tags()
    except Exception as error:  # whatever is wrong with it, other families are not
        _LOG.warning("target family %s is left out: %s: %s", entry.name, type(error).__name__, error)
        return None
    return family


def register_family(family: F) -> F:
    """Add a family under its name, for as long as the process lives; for plugins."""
    _added[family.name] = family
    return family


def register_kernel(kernel: Kernel[Any], family: str = DEFAULT_TARGET) -> None:
    """Have targets of a family ask this kernel too, before the family's own; for plugins."""
    others = [known for known in _kernels.get(family, []) if known.name != kernel.name]
    _kernels[family] = [*others, kernel]


def added() -> dict[str, object]:
    """The families and kernels that were registered, by name."""
    return {**_added, **{kernel.name: kernel for kernels in _kernels.values() for kernel in kernels}}


def target(name: str = DEFAULT_TARGET) -> AnyTarget:
    """The target of that name: ``family`` (the host's machine) or ``family:tag``. Raises `UsageError` for others."""
    family, _, tag = name.partition(":")
    known = families()
    if family not in known:
        raise UsageError(f"unknown target {name!r}: known families are {', '.join(sorted(known))}")
    return Target(known[family], known[family].machine(tag or "native"), tuple(_kernels.get(family, ())))


def tags() -> tuple[str, ...]:
    """Every target that can be named, sorted."""
    return tuple(sorted(f"{name}:{tag}" for name, family in families().items() for tag in family.tags()))
