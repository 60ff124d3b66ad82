"""What is tried: models that lose more or less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import onnx

from dsc.prune.pruned import Made
from dsc.quantize.calibration import Feed

_STEPS = 20
SHARES = tuple(step / _STEPS for step in range(_STEPS - 1, 0, -1))
"""Sparsities that are tried under a budget, the largest first."""


@dataclass(frozen=True)
class Plan:
    """A model that can be made, and what it is in words."""

    title: str
    make: Callable[[], Made]


class Work(Protocol):
    """A float model on the way to one with fewer weights."""

    @property
    def float_model(self) -> onnx.ModelProto:
        """What it is compared with."""
        ...

    @property
    def samples(self) -> Sequence[Feed]:
        """What it is calibrated with; none without data."""
        ...

    def asked(self) -> Plan:
        """What is asked for, where that says how sparse it is."""
        ...

    def plans(self) -> list[Plan]:
        """What may be tried where it does not: the sparsest first."""
        ...
