"""What a manifest says of kernels is printed, or refused: whatever it holds."""

from __future__ import annotations

import json

import pytest

from dsc.cli.approximation import print_approximation
from dsc.cli.kernels import estimated, print_kernels
from dsc.cli.layers import print_layers, verdicts
from dsc.runtime.recorded import recorded_approximation, recorded_kernel, recorded_layer
from dsc.runtime.schema import MalformedError, Value
from tests.runtime.test_tampering import _NONSENSE, _paths, _with

KERNEL = {
    "kind": "k", "kernel": "gpu.generic", "point": "p", "estimate": 4e-6, "function": "f", "calls": 3,
    "demand": {"multiply_adds": 5, "element": "float32", "weight_bytes": 0, "activation_bytes": 8},
    "bound": {"compute_seconds": 1e-6, "memory_seconds": 2e-6},
    "rivals": [
        {"kernel": "gpu.generic", "skips_zeros": False, "estimate": 4e-6, "measured": 5e-6, "refusal": ""},
        {"kernel": "gpu.sparse", "skips_zeros": True, "estimate": 2e-6, "measured": None, "refusal": ""},
        {"kernel": "gpu.other", "skips_zeros": True, "estimate": None, "measured": None, "refusal": "0 convolutions"},
    ],
    "resources": [
        {"kernel": "f_kernel", "threads": 64, "registers": 20, "spilled_bytes": 0, "stack_bytes": 0, "shared_bytes": 96,
         "resident_blocks": 8, "occupancy": 0.5, "matrix_instructions": 7},
    ],
}  # fmt: skip

LAYER = {
    "name": "/fc", "op": "MatMul", "shape": [64, 32], "zeros": 0.9, "pattern": "4x1", "kept": 0.1, "obstacle": "",
    "choice": 0, "parameters": ["0.w", "1.w"],
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


def test_every_value_of_a_layer_and_its_rivals_replaced_by_nonsense() -> None:
    """Either is refused, or printed with the other as it was."""
    refusals = []
    for content, path in [*((LAYER, path) for path in _paths(LAYER)), *((KERNEL, path) for path in _paths(KERNEL))]:
        for nonsense in _NONSENSE:
            changed = json.loads(json.dumps(_with(content, path, nonsense)))
            layer, kernel = (changed, KERNEL) if content is LAYER else (LAYER, changed)
            try:
                recorded = recorded_layer(Value(layer, "layers[0]"), 1), recorded_kernel(Value(kernel, "kernels[0]"))
            except MalformedError as error:
                refusals.append(str(error))
            else:
                print_layers(recorded[:1], recorded[1:])
    assert len(refusals) > 150
    assert all(refusal.startswith(("layers[0]", "kernels[0]")) for refusal in refusals)


ERROR = {"snr": 20.5, "max_abs": 0.1, "cosine": 0.99}
APPROXIMATION = {
    "attentions": [
        {"name": "/softmax", "window": 8, "keep": None, "own": ERROR, "accumulated": ERROR | {"snr": "-inf"}},
        {"name": "/softmax2", "window": None, "keep": 0.2, "own": ERROR, "accumulated": None},
    ],
    "refused": {"it has a window already": 2},
    "outputs": {"y": {"snr": "inf", "max_abs": 0, "cosine": 1}},
    "inputs": "random",
}


def test_every_value_of_an_approximation_replaced_by_nonsense(capsys: pytest.CaptureFixture[str]) -> None:
    print_approximation(recorded_approximation(Value(APPROXIMATION, "approximation")))
    printed = capsys.readouterr().out.splitlines()
    assert [line.split() for line in printed if line.startswith(("/softmax", "y"))] == [
        ["/softmax", "8", "-", "20.5", "lost", "0.1", "0.99000"],
        ["/softmax2", "-", "0.2", "20.5"],
        ["y", "exact", "0", "1.00000"],
    ]
    assert "  measured on: random" in printed
    assert "  not approximated, 2: it has a window already" in printed
    print_approximation(APPROXIMATION | {"attentions": [], "outputs": {}})
    assert capsys.readouterr().out.splitlines()[0] == "no attention was approximated"
    refusals = []
    for path in _paths(APPROXIMATION):
        for nonsense in _NONSENSE:
            changed = json.loads(json.dumps(_with(APPROXIMATION, path, nonsense)))
            try:
                print_approximation(recorded_approximation(Value(changed, "approximation")))
            except MalformedError as error:
                refusals.append(str(error))
    assert len(refusals) > 50
    assert all(refusal.startswith("approximation") for refusal in refusals)


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


RIVALS = KERNEL["rivals"]


def judged(layer: dict[str, object], kernel: dict[str, object]) -> tuple[object, ...]:
    (found,) = verdicts([LAYER | layer], [KERNEL | kernel])
    return found.eligible, found.skips_zeros, found.predicted, found.measured, found.reason


def test_why_a_layer_is_dense() -> None:
    """What could skip zeros, by how much it was expected and found to be faster, and what stood against it."""
    sparse, refused = {"kernel": "gpu.sparse"}, [RIVALS[0], RIVALS[2]]
    assert judged({}, sparse) == (True, True, 2.0, None, "")
    assert judged({}, sparse | {"rivals": [RIVALS[0], RIVALS[1] | {"measured": 2.5e-6}]}) == (True, True, 2.0, 2.0, "")
    slower = [RIVALS[0], RIVALS[1] | {"estimate": 8e-6}, RIVALS[2]]
    assert judged({}, {"rivals": slower}) == (True, False, 0.5, None, "slower by estimate")
    measured = [RIVALS[0], RIVALS[1] | {"measured": 1e-5}]
    assert judged({}, {"rivals": measured}) == (True, False, 2.0, 0.5, "measured slower")
    assert judged({}, {}) == (True, False, 2.0, None, "not taken")
    assert judged({"obstacle": "few zeros"}, {"rivals": refused}) == (False, False, None, None, "few zeros")
    assert judged({}, {"rivals": refused})[-1] == "no kernel that skips zeros is for such a layer"
    other = [*refused, RIVALS[2] | {"refusal": "channels in groups"}]
    assert judged({}, {"rivals": other}) == (False, False, None, None, "channels in groups")
    assert judged({}, {"rivals": [RIVALS[0]]})[-1] == "this target has no kernel that skips zeros"
