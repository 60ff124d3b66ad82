"""Whether the launches of a run can be captured as one graph, which a GPU then gets by a single launch."""

from __future__ import annotations

from tvm import relax

from dsc.ir import Graph, dims_of
from dsc.targets.machine import Machine

_LAUNCHES = "relax.call_tir"
_VIEWS = "relax.reshape"


def obstacle(graph: Graph, machine: Machine) -> str:
    """Why the launches of a run cannot be one graph, in words; empty where they can.

    A graph has the numbers of its launches and the addresses of its tensors, so the sizes of a model must be known.
    """
    if machine.graph_launch_seconds is None:
        return f"{machine.name} has no graphs of launches"
    free = [
        name
        for value, name in zip(graph.inputs, graph.input_names, strict=True)
        if not all(isinstance(size, int) for size in dims_of(value.type) or ())
    ]
    if free:
        return f"sizes of {', '.join(free)} are known at run time only: fix them by --shape"
    return ""


def obstacle_in(main: relax.Function) -> str:
    """The same, for what a model's function has become. Launches are captured, and views of tensors are not made again.

    Anything else would happen once, when the graph is made, and not in each run.
    """
    launches = 0
    for block in main.body.blocks:
        for binding in block.bindings:
            if not isinstance(binding.value, relax.Call):
                continue
            called = binding.value.op.name if hasattr(binding.value.op, "name") else str(binding.value.op)
            if called not in (_LAUNCHES, _VIEWS):
                return f"{called} is done by the host"
            launches += called == _LAUNCHES
    return "" if launches else "no kernel is launched"
