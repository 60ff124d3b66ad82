"""What a report says of the kernels of a model beyond what was chosen: how often, how much, how fast at most."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from dsc.codegen.emit import Emitted
from dsc.codegen.objects import KernelCode
from dsc.codegen.selection import Choice
from dsc.lower.demand import demand
from dsc.lower.workload import Workload
from dsc.runtime.weights import total_size
from dsc.targets.bound import bound
from dsc.targets.family import AnyTarget


def described(emitted: Emitted, target: AnyTarget, kernels: KernelCode) -> list[Choice]:
    """The choices with the figures of what they compute, and the resources of the code that was made of them."""
    calls = Counter(call.code.function.name_hint for call in emitted.calls)
    workloads = {call.code.function.name_hint: call.workload for call in emitted.calls}
    weights = float(total_size(emitted.parameters.weights))
    return [
        _described(choice, workloads[choice.function], calls[choice.function], target, weights, kernels)
        for choice in emitted.choices
    ]


def _described(
    choice: Choice, workload: Workload, calls: int, target: AnyTarget, weights: float, kernels: KernelCode
) -> Choice:
    wanted = demand(workload)
    return replace(
        choice,
        calls=calls,
        demand=wanted,
        bound=None if wanted is None else bound(target.machine, wanted, weights),
        resources=kernels[choice.function].resources,
    )
