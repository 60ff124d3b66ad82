"""Machines as data, the kernels written for them, and the backends that make code of those."""

from __future__ import annotations

from dsc.targets.backend import Backend
from dsc.targets.family import AnyTarget, Family, Target
from dsc.targets.kernel import (
    ArrayType,
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
from dsc.targets.machine import Machine, MultiplyAdd
from dsc.targets.registry import DEFAULT_TARGET, families, register_family, register_kernel, tags, target

__all__ = [
    "DEFAULT_TARGET",
    "AnyTarget",
    "ArrayType",
    "Backend",
    "Family",
    "Implementation",
    "Kernel",
    "Machine",
    "MultiplyAdd",
    "Packing",
    "Point",
    "Rearrange",
    "Refusal",
    "Space",
    "Target",
    "Work",
    "families",
    "register_family",
    "register_kernel",
    "roofline",
    "tags",
    "target",
]
