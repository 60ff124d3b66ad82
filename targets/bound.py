"""The roofline: less time than this no kernel takes, by a machine's figures."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.lower.demand import Demand
from dsc.targets.machine import Machine


@dataclass(frozen=True)
class Bound:
    """Of one run of a workload. The longer of the two is its roofline."""

    compute_seconds: float
    """Of all multiply-adds, at the rate of the machine's best instruction for their types."""
    memory_seconds: float
    """Of all bytes, each moved once."""

    @property
    def seconds(self) -> float:
        """The roofline."""
        return max(self.compute_seconds, self.memory_seconds)


def bound(machine: Machine, demand: Demand, all_weight_bytes: float) -> Bound:
    """The bound of what a workload demands, in a model with so many bytes of weights.

    From run to run all weights pass by, so a weight is where they all fit: in a cache if that is large enough, else in
    memory. What is computed at run time comes from the kernel before: it is where the region's own tensors fit.
    """
    everywhere = machine.peak(_multiplied(machine, demand.element)) * machine.cores
    weights = machine.bandwidth(all_weight_bytes, machine.cores)
    activations = machine.bandwidth(demand.activation_bytes, machine.cores)
    slowest = min(weights, activations)
    from_slowest = demand.weight_bytes * (weights == slowest) + demand.activation_bytes * (activations == slowest)
    moved = (demand.weight_bytes + demand.activation_bytes) / max(weights, activations)
    return Bound(2 * demand.multiply_adds / everywhere, max(moved, from_slowest / slowest))


def _multiplied(machine: Machine, element: str) -> str:
    """The type itself, or unsigned bytes, which signed ones become; where no instruction multiplies it, that of all
    machines."""
    multiplied = {row.a for row in machine.instructions}
    also = "uint8" if element == "int8" else element
    return next((name for name in (element, also) if name in multiplied), "float32")
