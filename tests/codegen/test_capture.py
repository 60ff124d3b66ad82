"""Which models' runs are graphs, and what that is in their estimates and reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tvm import relax

from dsc.cli.inspect import inspect
from dsc.codegen.capture import obstacle, obstacle_in
from dsc.exchange import import_model
from dsc.pipeline import compile_model
from dsc.targets import Target, target
from dsc.targets.cuda import Cuda
from tests.compiled import TextModel

A100 = target("cuda:sm_80").machine
STATIC = TextModel("(float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
FREE = TextModel("(float[n,3] x, float[3] b) => (float[n,3] y) { y = Add(x, b) }")
VIEW = TextModel("(float[2,3] x) => (float[3,2] y) { y = Reshape(x, s) }", {"s": np.array([3, 2])})


def compiled_for_nothing(model: TextModel) -> Target:
    """CUDA, whose kernels are not assembled: they are not run here."""
    return Target(Cuda(lambda source, arch: b"\0" * 16), A100)


@pytest.mark.parametrize(
    ("model", "name", "reason"),
    [
        (STATIC, "cuda:sm_80", ""),
        (STATIC, "rocm:gfx942", ""),
        (STATIC, "x86:znver4", "x86:znver4 has no graphs of launches"),
        (FREE, "rocm:gfx942", "sizes of x are known at run time only: fix them by --shape"),
    ],
)
def test_machines_and_sizes_decide(model: TextModel, name: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(model.proto().SerializeToString())
    assert obstacle(import_model(path), target(name).machine) == reason


def test_what_the_host_does_in_between_is_not_captured() -> None:
    x, builder = relax.Var("x", relax.TensorType((3,), "float32")), relax.BlockBuilder()
    with builder.function("main", [x]):
        builder.emit_func_output(builder.emit(relax.op.nonzero(builder.emit(relax.op.reshape(x, (3, 1))))))
    assert obstacle_in(builder.get()["main"]) == "relax.nonzero is done by the host"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (STATIC, "one graph a run"),
        (FREE, "one by one, as sizes of x are known"),
        (VIEW, "one by one, as no kernel is launched"),
    ],
)
def test_inspect_says_how_kernels_are_launched(
    model: TextModel, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compile_model(model.proto(), target=compiled_for_nothing(model)).model.write(tmp_path / "m.dsc")
    inspect(str(tmp_path / "m.dsc"))
    assert f"launches: {said}" in capsys.readouterr().out


def test_estimates_are_of_launches_within_the_graph() -> None:
    """A kernel of next to nothing takes what a launch does."""
    (choice,) = compile_model(STATIC.proto(), target=compiled_for_nothing(STATIC)).model.choices
    assert A100.graph_launch_seconds < choice.estimate < 2 * A100.graph_launch_seconds < A100.launch_seconds
