"""What an artifact asks of where it runs, in a form that every device fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Facts: TypeAlias = "Mapping[str, str | tuple[str, ...]]"


@dataclass(frozen=True)
class Needs:
    """What is asked of one device."""

    device: str
    """Its name, as ``cpu``: see `dsc.runtime.devices`."""
    facts: Facts
    """As the device checks them: instruction set and features of a CPU, architecture and driver of a GPU."""
