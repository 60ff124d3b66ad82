"""A workload as launches: as few as its reductions allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import te

from dsc.lower.exprs import same
from dsc.lower.te import lowered
from dsc.lower.workload import Workload, once
from dsc.targets.cpu.inline import is_one_of
from dsc.targets.gpu.generic.rows import Apart, Rows, Stored, rows_of
from dsc.targets.kernel import Refusal


@dataclass(frozen=True)
class Plan:
    """What is computed, one launch after the other."""

    launches: tuple[Rows, ...]
    stored: tuple[te.Tensor, ...]
    """Intermediate results that launches leave in memory for others."""


def plan(inputs: Sequence[te.Tensor], outputs: Sequence[te.Tensor]) -> Plan | Refusal:
    """The launches for `outputs`: one where they share their rows, and one before for each reduction that has none."""
    launches: list[Rows] = []
    stored: list[te.Tensor] = []

    def add(wanted: Sequence[te.Tensor]) -> Refusal | None:
        while True:
            found = rows_of(wanted, [*inputs, *stored])
            match found:
                case Rows():
                    launches.append(found)
                    return None
                case Refusal():
                    return found
                case Apart():
                    problems = [add([output]) for output in wanted]
                    return next((problem for problem in problems if problem is not None), None)
                case Stored():
                    if (problem := add([found.tensor])) is not None:
                        return problem
                    stored.append(found.tensor)

    wanted = _distinct(outputs)
    problem = add(wanted) if wanted else None
    return Plan(tuple(launches), tuple(stored)) if problem is None else problem


@once
def plan_of(workload: Workload) -> Plan | Refusal:
    """The launches for a workload, its constants as they are."""
    body = lowered(workload)
    return plan(body.inputs, body.outputs)


def _distinct(outputs: Sequence[te.Tensor]) -> list[te.Tensor]:
    """Each result that has elements, once: two may be one tensor."""
    found: list[te.Tensor] = []
    for output in outputs:
        if not is_one_of(output, found) and not any(same(size, 0) for size in output.shape):
            found.append(output)
    return found
