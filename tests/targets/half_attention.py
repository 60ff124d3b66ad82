"""Attention of halves: regions as `--precision fp16` makes them, and what float64 makes of the same numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from dsc.lower.workload import Workload
from tests.targets.regions import Region
from tests.targets.test_attention import CASES
from tests.targets.weighted import Weighted

_FORM = re.compile(r"\((?P<given>.*)\) => \(float(?P<shape>\[.*?\]) y\)\s*\{(?P<body>.*)\}", re.DOTALL)


@dataclass(frozen=True)
class HalfAttention(Weighted):
    """An attention whose factors, the probabilities too, may be rounded to a type."""

    kind: str = "attention"
    multiplied_as: str | None = "float16"

    def workload(self) -> Workload:
        """As the pass `precision` marks it."""
        return replace(super().workload(), multiplied_as=self.multiplied_as)

    @staticmethod
    def of(region: Region) -> HalfAttention:
        """A region of float32 with q, k, v (or x) and y in halves, converted after they are read and before y is
        written."""
        found = _FORM.fullmatch(region.text.strip())
        assert found is not None, region.text
        given, casts = [], []
        for parameter in re.split(r",\s*(?=[a-z]+\d*\[)", found["given"]):
            type_, name = parameter.split()
            if name in ("q", "k", "v", "x"):
                casts.append(f"{name} = Cast<to=1>({name}h)")
                type_, name = type_.replace("float", "float16"), f"{name}h"
            given.append(f"{type_} {name}")
        body = re.sub(r"\by =", "yf =", found["body"])
        text = f"({', '.join(given)}) => (float16{found['shape']} y) {{ {' '.join(casts)} {body} y = Cast<to=10>(yf) }}"
        return HalfAttention(text, region.sizes, atol=HALF_ULP)


HALF_ULP = 2e-3
"""Results are means of numbers below 4, whose neighbours in float16 are 2e-3 apart: half of that from the last
rounding, as much from that of the probabilities."""
HALVES = [HalfAttention.of(case) for case in CASES]


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | float = 0.0) -> np.ndarray:
    """``softmax(q @ k + mask) @ v`` in float64; k is ``[.., depth, keys]``."""
    scores = q.astype(np.float64) @ k.astype(np.float64) + mask
    with np.errstate(invalid="ignore"):
        weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v.astype(np.float64)
