"""A file with an operator, given to the command line and to load_plugin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from dsc.plugins import load_plugin
from tests.cli.conftest import Cli
from tests.cli.conftest import cli as cli
from tests.domains.models import SWOOSH, model, swooshed

FILE = """
from dsc.ir import register_operator
from dsc.lower import composed, elementwise, lowers
from tests.domains.mine import operand, schema

Swoosh = register_operator(schema("Swoosh", [operand("X")]))


@lowers(Swoosh)
def swoosh(call):
    return elementwise(lambda x: x * composed.sigmoid(x), call.inputs[0], name="swoosh")
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    onnx.save(model(SWOOSH), path := tmp_path / "m.onnx")
    return path


def test_a_plugin_says_what_it_adds_each_time(plugin: Path) -> None:
    assert load_plugin(plugin) == ["onnx.com.mine.Swoosh"]
    assert load_plugin(plugin) == ["onnx.com.mine.Swoosh"]


def test_the_command_line(cli: Cli, plugin: Path, file: Path, tmp_path: Path) -> None:
    assert "a plugin (--plugin) can add operators of other domains" in cli(
        "compile", file, "-o", tmp_path / "a.dsc"
    ).failed(3)
    assert cli("compile", file, "--plugin", plugin, "-o", tmp_path / "a.dsc").code == 0
    assert "onnx.com.mine.Swoosh" in cli("opt", file, "--plugin", plugin).out
    x = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    assert cli("run", tmp_path / "a.dsc", "--input", f"x={tmp_path / 'x.npy'}", "-o", tmp_path / "y.npz").code == 0
    y = np.load(tmp_path / "y.npz")["y"]
    np.testing.assert_allclose(y, swooshed(x, 1.0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("words", [("verify",), ("opt", "--verify-each"), ("bench", "--against", "onnxruntime")])
def test_onnx_runtime_cannot_run_it(cli: Cli, plugin: Path, file: Path, words: tuple[str, ...]) -> None:
    message = cli(words[0], file, "--plugin", plugin, *words[1:]).failed(3)
    assert "onnxruntime cannot run" in message or "ONNX Runtime, the reference, refuses the model" in message
    assert "com.mine:Swoosh" in message
