"""The tuner: measured time decides, what was measured is not measured again, and time is kept."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from dsc.codegen import Candidate
from dsc.codegen.selection import Failures, candidates
from dsc.errors import UsageError
from dsc.ir import Graph, onnx, tensor
from dsc.lower.workload import Workload
from dsc.targets import target
from dsc.tune import Database, Tuner

HERE = target("x86")


def matmul() -> tuple[Workload, list[Candidate]]:
    """A matrix product with a weight, and all ways to compute it."""
    graph = Graph.build([("x", tensor("float32", (33, 96)))])
    weight = graph.make_constant(np.random.default_rng(0).standard_normal((96, 80)).astype(np.float32))
    product = onnx.MatMul.make(graph.inputs[0], weight.results[0])
    graph.body.add_ops([weight, product])
    graph.set_outputs([("y", product.out)])
    workload = Workload.of(product)
    return workload, candidates(workload, HERE, Failures())[0]


def test_the_fastest_measured_is_chosen_and_remembered() -> None:
    workload, found = matmul()
    database = Database()
    tuner = Tuner(HERE, 6000.0, database)
    chosen = tuner(workload, found)
    (times,) = [list(r.values()) for r in database._records.values()]
    assert 2 <= tuner.measured == len(times)
    fastest = min(record.seconds for record in times)  # of several, when the clock cannot tell them apart
    assert repr(chosen.point) in [record.point for record in times if record.seconds == fastest]
    again = Tuner(HERE, 6000.0, database)
    assert again(workload, found).point == chosen.point
    assert again.measured == 0


def test_a_measurement_beats_the_estimates() -> None:
    workload, found = matmul()
    database = Database()
    Tuner(HERE, 6000.0, database)(workload, found)
    (known,) = database._records.values()
    slowest = max(known.values(), key=lambda r: r.seconds)
    database.add([dataclasses.replace(slowest, seconds=1e-12)])
    chosen = Tuner(HERE, 6000.0, database)(workload, found)
    assert (chosen.kernel.name, repr(chosen.point)) == (slowest.kernel, slowest.point)


def test_without_time_the_estimate_decides() -> None:
    workload, found = matmul()
    tuner = Tuner(HERE, 0.0, Database())
    assert tuner(workload, found) is found[0]
    assert tuner.measured == 0


def test_inputs_are_measured_with_the_zeros_that_are_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    workload, found = matmul()
    asked: list[float] = []

    def measured(*_: object, workload: Workload) -> float:
        asked.append(workload.expected_zeros)
        return 1.0

    monkeypatch.setattr(sys.modules[Tuner.__module__], "measure", measured)
    Tuner(HERE, 6000.0, Database())(dataclasses.replace(workload, expected_zeros=0.5), found)
    assert asked
    assert set(asked) == {0.5}


def test_one_candidate_is_not_measured() -> None:
    workload, found = matmul()
    tuner = Tuner(HERE, 6000.0, Database())
    only: Sequence[Candidate] = found[:1]
    assert tuner(workload, only) is found[0]
    assert tuner.measured == 0


def test_a_machine_that_is_not_here_cannot_be_measured() -> None:
    machine = dataclasses.replace(
        HERE.machine, name="x86:foreign", features=HERE.machine.features | {"amx_tile_of_2099"}
    )
    foreign = dataclasses.replace(HERE, machine=machine)
    with pytest.raises(UsageError, match="needs the CPU features amx_tile_of_2099"):
        Tuner(foreign, 60.0, Database())
