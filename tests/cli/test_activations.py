"""`--activations`: what an artifact rounds is compiled, told, verified and listed."""

from __future__ import annotations

from pathlib import Path

import onnx

from tests.cli.conftest import Cli
from tests.test_activations import block, runs_here


@runs_here
def test_on_the_command_line(cli: Cli, tmp_path: Path) -> None:
    model, artifact = tmp_path / "block.onnx", tmp_path / "block.dsc"
    onnx.save(block().proto(), model)
    done = cli("compile", model, "--activations", "int8", "-o", artifact)
    assert done.code == 0, done.err
    assert "precision: fp32, activations of weights of few bits int8" in cli("inspect", artifact).out
    done = cli("verify", model, "--module", artifact, "--samples", 1)
    assert done.code == 0, done.err
    assert "activations of weights of few bits int8" in done.out
    assert "is compiled already" in cli("verify", model, "--module", artifact, "--activations", "int8").failed(2)
    assert "quantize-rows" not in cli("opt", model, "--stats").err
    assert 'quantize-rows{type="int16"}' in cli("opt", model, "--activations", "int16", "--stats").err
