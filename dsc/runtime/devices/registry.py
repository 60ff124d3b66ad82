"""Devices by name: those of dsc, of installed packages, and of plugins."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import TypeVar

from dsc.errors import ArtifactError
from dsc.runtime.devices.contract import Device
from dsc.runtime.devices.cpu import Cpu
from dsc.runtime.devices.cuda import Cuda
from dsc.runtime.devices.rocm import Rocm

ENTRY_POINT_GROUP = "dsc.devices"
"""Under which a package names its devices: the entry is a class, or a function, that gives one."""
_OWN: dict[str, Callable[[], Device]] = {"cpu": Cpu, "cuda": Cuda, "rocm": Rocm}
_added: dict[str, Device] = {}
D = TypeVar("D", bound=Device)


def register_device(device: D) -> D:
    """Add a device under its name, for as long as the process lives; for plugins."""
    _added[device.name] = device
    return device


def added() -> dict[str, object]:
    """The devices that were registered, by name."""
    return {**_added}


def device(name: str, source: str) -> Device:
    """The device of that name. Raises `ArtifactError`, naming the artifact `source` that needs it, where there is none,
    or where the package that has it is broken."""
    try:
        found = _added.get(name) or _installed(name)
    except Exception as error:  # whatever is wrong with a package, it is not the caller's
        raise ArtifactError(
            f"{source} needs a device {name!r}, whose package does not load: {type(error).__name__}: {error}"
        ) from error
    if found is None:
        raise ArtifactError(
            f"{source} needs a device {name!r}, which this dsc does not know; there are {', '.join(sorted(_names()))}. "
            "Is a plugin missing?"
        )
    return found


@cache
def _installed(name: str) -> Device | None:
    if name in _OWN:
        return _OWN[name]()
    for entry in entry_points(group=ENTRY_POINT_GROUP, name=name):
        found: Device = entry.load()()
        return found
    return None


def _names() -> set[str]:
    return {*_OWN, *_added, *(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP))}
