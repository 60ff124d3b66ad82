"""The devices that code needs."""

from __future__ import annotations

from collections.abc import Sequence

from dsc.needs import Needs
from dsc.runtime.devices.contract import Device
from dsc.runtime.devices.registry import device


def needed_device(needs: Sequence[Needs], target: str, source: str) -> Device:
    """The device that kernels of `source`, compiled for `target`, run on: the last that is needed.

    Raises `ArtifactError` where one of those that take part is not here, or is another than the code needs.
    """
    found = [device(need.device, source) for need in needs]
    for each, need in zip(found, needs, strict=True):
        each.check(need.facts, target, source)
    return found[-1]
