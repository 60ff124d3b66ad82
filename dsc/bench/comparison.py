"""One model on one number of threads: dsc and its peers side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dsc.bench.contenders import Contender, module_contender, peer_contender
from dsc.bench.timing import Timing, interleave
from dsc.errors import UsageError

if TYPE_CHECKING:
    from dsc.runtime import Module

DSC = "dsc"


@dataclass(frozen=True)
class Comparison:
    """Latencies by contender ("dsc", and the peers) of one model on `threads` threads."""

    model: str
    threads: int
    timings: Mapping[str, Timing]

    def speedup(self, peer: str) -> float:
        """How many times faster dsc is than `peer`, by medians."""
        return self.timings[peer].median / self.timings[DSC].median

    def to_json(self) -> dict[str, object]:
        """Plain data for a JSON file."""
        peers = [name for name in self.timings if name != DSC]
        return {
            "model": self.model,
            "threads": self.threads,
            "timings": {name: timing.to_json() for name, timing in self.timings.items()},
            "speedup": {peer: self.speedup(peer) for peer in peers},
        }


def compare_speed(
    name: str,
    module: Module,
    model: Path | None,
    inputs: Mapping[str, np.ndarray],
    peers: Sequence[str] = ("onnxruntime",),
    rounds: int = 10,
    on_round: Callable[[int], None] | None = None,
) -> Comparison:
    """Time `module` and the peers on the same inputs, in its precision, and as many threads as it was loaded with.

    model: the ONNX file the module was made from, which the peers run; may be None when there are none.
    name: for reports. Raises as `peer_contender` does.
    """
    contenders: dict[str, Contender] = {DSC: module_contender(module, inputs)}
    for peer in peers:
        if model is None:
            raise UsageError(f"timing against {peer} needs the ONNX file that {name} was made from")
        precision = str(module.manifest.provenance.get("precision", "fp32"))
        contenders[peer] = peer_contender(peer, model, inputs, module.threads, precision)
    return Comparison(name, module.threads, interleave(contenders, rounds, on_round))


def geometric_mean(comparisons: Iterable[Comparison], peer: str) -> float:
    """The geometric mean of the speedups over `peer`; NaN of none."""
    logarithms = [math.log(comparison.speedup(peer)) for comparison in comparisons]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else math.nan
