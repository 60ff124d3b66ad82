"""`dsc verify --against`: the layers of a quantized model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.check.quantized import quantized_by_hand
from tests.cli.conftest import Cli, small_model


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quantized") / "small-q.onnx"
    grids = {"x": (0.03, 128), "r": (0.2, 0), "f": (0.05, 0)}
    onnx.save(quantized_by_hand(small_model(), grids), path)
    return path


def test_layers_are_printed_written_and_drawn(cli: Cli, model: Path, quantized: Path, tmp_path: Path) -> None:
    report, picture = tmp_path / "report.json", tmp_path / "layers.png"
    done = cli("verify", quantized, "--against", model, "--samples", 2, "--json", report, "--picture", picture)
    assert done.code == 0, done.err
    assert "small-q against small on 2 sample(s), in ONNX Runtime; worst first" in done.out
    content = json.loads(report.read_text())
    layers = content["layers"]
    assert sorted(layer["tensor"] for layer in layers) == ["c", "f", "p", "r", "x", "y"]
    assert [layer["accumulated"]["snr"] for layer in layers] == sorted(layer["accumulated"]["snr"] for layer in layers)
    (conv,) = [layer for layer in layers if layer["tensor"] == "c"]
    assert (conv["operator"], conv["node"], conv["place"]) == ("Conv", "/conv", 1)
    assert conv["own"]["snr"] == "inf"  # its weights are those of the float model
    assert "random, seeds 0, 1" in content["inputs"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    rows = [line.split() for line in done.out.splitlines()]
    assert [row[0] for row in rows[2 : 2 + len(layers)]] == [layer["tensor"] for layer in layers]
    assert "worst by themselves: " in done.out


def test_given_samples(cli: Cli, model: Path, quantized: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).standard_normal((3, 2, 3, 16, 16)).astype(np.float32))
    done = cli("verify", quantized, "--against", model, "--data", tmp_path / "x.npz")
    assert done.code == 0, done.err
    assert "on 3 sample(s)" in done.out


def test_what_does_not_go_together(cli: Cli, model: Path, quantized: Path, tmp_path: Path) -> None:
    words = ("verify", quantized, "--against", model)
    assert "--target is of a compiled model" in cli(*words, "--target", "x86").failed(2)
    assert "--rtol is of a compiled model" in cli(*words, "--rtol", "1e-3").failed(2)
    assert "--picture is of what --against" in cli("verify", model, "--picture", tmp_path / "a.svg").failed(2)
    assert "pictures are .svg" in cli(*words, "--picture", tmp_path / "a.jpg").failed(2)
    assert "would overwrite" in cli(*words, "--json", model).failed(2)
    assert "there is no file" in cli("verify", quantized, "--against", tmp_path / "none.onnx").failed(2)
    (tmp_path / "text.onnx").write_text("not a model")
    assert "not an ONNX model" in cli("verify", tmp_path / "text.onnx", "--against", model).failed(3)
    assert not list(tmp_path.glob("*.svg"))
