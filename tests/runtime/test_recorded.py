"""What a manifest says of kernels is printed, or refused: whatever it holds."""

from __future__ import annotations

import json

import pytest

from dsc.cli.kernels import estimated, print_kernels
from dsc.runtime.recorded import recorded_kernel
from dsc.runtime.schema import MalformedError, Value
from tests.runtime.test_tampering import _NONSENSE, _paths, _with

KERNEL = {
    "kind": "k", "kernel": "gpu.generic", "point": "p", "estimate": 4e-6, "function": "f", "calls": 3,
    "demand": {"multiply_adds": 5, "element": "float32", "weight_bytes": 0, "activation_bytes": 8},
    "bound": {"compute_seconds": 1e-6, "memory_seconds": 2e-6},
    "resources": [
        {"kernel": "f_kernel", "threads": 64, "registers": 20, "spilled_bytes": 0, "stack_bytes": 0, "shared_bytes": 96,
         "resident_blocks": 8, "occupancy": 0.5, "matrix_instructions": 7},
    ],
}  # fmt: skip


def test_every_value_replaced_by_nonsense() -> None:
    refusals = []
    for path in _paths(KERNEL):
        for nonsense in _NONSENSE:
            changed = json.loads(json.dumps(_with(KERNEL, path, nonsense)))
            try:
                print_kernels([recorded_kernel(Value(changed, "kernels[0]"))])
            except MalformedError as error:
                refusals.append(str(error))
    assert len(refusals) > 50
    assert all(refusal.startswith("kernels[0]") for refusal in refusals)


def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_kernels([recorded_kernel(Value(KERNEL, "kernels[0]"))])
    printed = capsys.readouterr().out
    assert [line.split() for line in printed.splitlines() if line.startswith("f")] == [
        ["f", "p", "3", "0.000", "0.00", "4.0", "2.0", "50%"],
        ["f_kernel", "64", "20", "0", "0", "96", "8", "50%", "7"],
    ]


def test_a_model_is_the_sum_of_its_calls_and_weights_come_from_memory() -> None:
    """An estimate that has a kernel's weights nearer than they are is raised to what moving them takes."""
    slow = KERNEL | {"estimate": 1e-6, "calls": 1}
    assert (estimated([KERNEL, slow]) or "").startswith("estimate: 14 us a run, 57% of the roofline (8 us)")
    assert estimated([KERNEL, KERNEL | {"bound": None}]) is None
