"""Finding targets by name: ``x86``, ``arm:cortex-a76``, or a family that a package or a plugin adds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from dsc.errors import UsageError
from dsc.host import FAMILY
from dsc.targets.family import AnyTarget, Family, Target
from dsc.targets.kernel import Kernel
from dsc.targets.machine import Machine

_LOG = logging.getLogger(__name__)
ENTRY_POINT_GROUP = "dsc.targets"
"""Under which a package names its families: the entry is a class, or a function, that gives one."""
DEFAULT_TARGET = FAMILY
"""The host's machine is what is compiled for where nobody says otherwise."""
NATIVE = "native"
"""The tag of the machine that is here."""
ALIASES = {"x86_64": "x86", "amd64": "x86", "arm64": "arm", "aarch64": "arm", "nvidia": "cuda", "amd": "rocm"}
"""What else people call families."""
_added: dict[str, Family[Any]] = {}
_kernels: dict[str, list[Kernel[Any]]] = {}
_machines: dict[str, dict[str, Machine]] = {}

F = TypeVar("F", bound=Family[Any])


def families() -> dict[str, Family[Any]]:
    """All families by name: those of dsc, of installed packages, and of plugins."""
    return {**_installed(), **_added}


@cache
def _installed() -> dict[str, Family[Any]]:
    from dsc.targets.arm import Arm
    from dsc.targets.cuda import Cuda
    from dsc.targets.rocm import Rocm
    from dsc.targets.x86 import X86

    found: dict[str, Family[Any]] = {"arm": Arm(), "cuda": Cuda(), "rocm": Rocm(), "x86": X86()}
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


def register_machine(family: str, tag: str, machine: Machine) -> None:
    """Add a machine to a family under a tag, for as long as the process lives; see `dsc.targets.machine_file`."""
    _machines.setdefault(family, {})[tag] = machine


def target(name: str = DEFAULT_TARGET) -> AnyTarget:
    """The target of that name: ``family:tag``, or ``family`` for the machine that is here; ``native`` is the host.

    Where the host has no machine of the family, its name alone means the family's default, and a warning says so.
    Raises `UsageError` for other names.
    """
    spelled, _, tag = (f"{FAMILY}:{NATIVE}" if name == NATIVE else name).partition(":")
    known, family = families(), ALIASES.get(spelled, spelled)
    if family not in known:
        raise UsageError(f"unknown target {name!r}: known families are {', '.join(sorted(known))}")
    return Target(known[family], _machine(known[family], tag), tuple(_kernels.get(family, ())))


def _machine(family: Family[Any], tag: str) -> Machine:
    if tag == NATIVE:
        return family.native()  # type: ignore[no-any-return]
    if not tag:
        return _here_or_default(family)
    own = _machines.get(family.name, {})
    if tag not in own and tag not in family.tags():
        raise UsageError(f"unknown target '{family.name}:{tag}': {_near(tag, [NATIVE, *family.tags(), *own])}")
    return own[tag] if tag in own else family.machine(tag)


def _here_or_default(family: Family[Any]) -> Machine:
    try:
        return family.native()  # type: ignore[no-any-return]
    except UsageError as error:
        if family.default is None:
            raise
        machine = family.machine(family.default)
        _LOG.warning("%s; %s means %s then", error, family.name, machine.name)
        return machine  # type: ignore[no-any-return]


def _near(tag: str, known: Sequence[str]) -> str:
    """What may have been meant."""
    near = get_close_matches(tag, known, cutoff=0.5)
    return f"near are {', '.join(near)}" if near else f"known are {', '.join(sorted(known))}"


def tags() -> tuple[str, ...]:
    """Every machine that can be named, by family in order of their names, as the family orders them."""
    return tuple(f"{name}:{tag}" for name in sorted(families()) for tag in _tags(name))


def _tags(family: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*families()[family].tags(), *_machines.get(family, {})]))
