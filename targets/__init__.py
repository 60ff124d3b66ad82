"""Machines as data, and the kernels written for them."""

from __future__ import annotations

from dsc.targets.kernel import (
    Implementation,
    Kernel,
    Packing,
    Point,
    Rearrange,
    Refusal,
    Space,
    Work,
    roofline,
)
from dsc.targets.machine import Machine
from dsc.targets.registry import Family, families, kernels, machine, tags

__all__ = [
    "Family",
    "Implementation",
    "Kernel",
    "Machine",
    "Packing",
    "Point",
    "Rearrange",
    "Refusal",
    "Space",
    "Work",
    "families",
    "kernels",
    "machine",
    "roofline",
    "tags",
]
