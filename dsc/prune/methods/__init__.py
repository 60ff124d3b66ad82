"""How weights are chosen and what becomes of those that stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from dsc.prune.methods.admm import admm
from dsc.prune.methods.magnitude import magnitude
from dsc.prune.methods.obs import obs
from dsc.prune.methods.wanda import wanda
from dsc.prune.problem import Problem
from dsc.sparsity import Pattern

Prune: TypeAlias = Callable[[Problem, Pattern, float], np.ndarray]
"""Gives the weight, [outputs, depth], of a pattern and a density."""
Allocation: TypeAlias = Literal["uniform", "magnitude", "error"]
"""How densities of layers come about: all equal, by one threshold of magnitudes, by what layers' outputs lose."""


@dataclass(frozen=True)
class Method:
    """prune: what makes the weight. uses_data: whether it needs samples. updates: whether weights that stay change,
    and biases with them; then the data is what the pruned model gives, layer after layer. allocation: see there.
    """

    prune: Prune
    uses_data: bool
    updates: bool
    allocation: Allocation


METHODS: Mapping[str, Method] = {
    "magnitude": Method(magnitude, uses_data=False, updates=False, allocation="uniform"),
    "global-magnitude": Method(magnitude, uses_data=False, updates=False, allocation="magnitude"),
    "wanda": Method(wanda, uses_data=True, updates=False, allocation="uniform"),
    "obs": Method(obs, uses_data=True, updates=True, allocation="uniform"),
    "admm": Method(admm, uses_data=True, updates=True, allocation="error"),
}
