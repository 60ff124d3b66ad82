"""The calls that an artifact makes, found again from its graph and the kernels that it recorded."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dsc.codegen.emit import Call, Emitter
from dsc.codegen.selection import Candidate
from dsc.errors import ArtifactError
from dsc.ir import Graph
from dsc.lower.sizes import SizeRequirements
from dsc.lower.workload import Workload
from dsc.targets.family import AnyTarget
from dsc.targets.kernel import Point


def recorded_calls(graph: Graph, target: AnyTarget, recorded: Sequence[Mapping[str, Any]]) -> list[Call]:
    """The kernel calls of a graph, in order, with the choices of `Manifest.kernels`; nothing is compiled.

    graph: as the last pass left it. Raises ArtifactError where the choices are not of this graph, or of kernels that
    this version of dsc does not have.
    """
    chosen = {str(choice["workload"]): (choice["kernel"], choice["point"]) for choice in recorded}

    def choose(workload: Workload, candidates: Sequence[Candidate]) -> Candidate:
        wanted = chosen.get(workload.key())
        if wanted is None:
            raise ArtifactError(f"it has no kernel for the {workload.kind} that the passes make of the model now")
        for candidate in candidates:
            point = _point(wanted[1], candidate.point) if candidate.kernel.name == wanted[0] else None
            if point is not None:
                return replace(candidate, point=point)
        raise ArtifactError(f"its kernel {wanted[0]} {wanted[1]} is none that this dsc has for the {workload.kind}")

    emitter = Emitter(graph, target, choose, lambda done, total: None, SizeRequirements())
    return emitter.emit().calls


def _point(text: str, like: Point) -> Point | None:
    """The design point that prints as `text`, of the class of another; None if it is of another class.

    It need not be one that the space offers here: that depends on the cores and caches of the host.
    """
    call = ast.parse(text, mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != type(like).__name__:
        return None
    try:
        fields = {str(part.arg): ast.literal_eval(part.value) for part in call.keywords}
    except ValueError:  # a field that is no number, string or tuple of those
        return like if str(like) == text else None
    return type(like)(**fields)
