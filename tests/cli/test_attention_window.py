"""`--attention-window`, `--attention-keep`: what is approximated is compiled, told with its error, and verified."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.check.test_approximation import LENGTH, PASSES, model, samples
from tests.cli.conftest import Cli


@pytest.fixture
def source(tmp_path: Path) -> Path:
    proto = model().proto()
    for node in proto.graph.node:
        node.name = f"/{node.output[0]}" if node.op_type == "Softmax" else ""
    onnx.save(proto, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_on_the_command_line(cli: Cli, source: Path, tmp_path: Path) -> None:
    artifact, report, data = tmp_path / "m.dsc", tmp_path / "r.json", tmp_path / "data.npz"
    feeds = samples(3)
    np.savez(data, **{name: np.stack([feed[name] for feed in feeds]) for name in feeds[0]})
    compile_ = ("compile", source, "--attention-window", 6, "-o", artifact, "--json", report)
    done = cli(*compile_, "--calibration", data, "--samples", 2)
    assert done.code == 0, done.err
    found = json.loads(report.read_text())["approximation"]
    assert [(each["name"], each["window"]) for each in found["attentions"]] == [("/w", 6), ("/u", 6)]
    assert "the first 2 of" in found["inputs"]
    rows = [line.split() for line in done.out.splitlines() if line.startswith("/")]
    assert [row[:4] for row in rows] == [
        [each["name"], "6", "-", f"{each['own']['snr']:.1f}"] for each in found["attentions"]
    ]
    inspected = cli("inspect", artifact, "--json", report)
    assert [line.split() for line in inspected.out.splitlines() if line.startswith("/")] == rows
    assert json.loads(report.read_text())["approximation"] == found
    done = cli("verify", source, "--module", artifact, "--samples", 1)
    assert done.code == 0, done.err
    assert "attention is approximated on purpose" in done.out


def test_without_data_and_as_a_pass(cli: Cli, source: Path, tmp_path: Path) -> None:
    done = cli("compile", source, "--passes", PASSES % 6, "-o", tmp_path / "m.dsc")
    assert done.code == 0, done.err
    assert f"measured on: random, seeds 0, 1, 2: x [1, {LENGTH}, 16], mask [1, 1, {LENGTH}]" in done.out
    done = cli("verify", source, "--attention-window", 6, "--samples", 1)
    assert done.code == 0, done.err
    done = cli("opt", source, "--attention-window", 6, "--stats", "--verify-each")
    assert done.code == 0, done.err
    assert "sparsify-attention{window=6}" in done.err
    assert "attention_window = 6" in done.out


def test_what_is_refused(cli: Cli, source: Path, tmp_path: Path) -> None:
    assert "1 or more, not 0" in cli("compile", source, "--attention-window", 0).failed(2)
    assert "no key lies further than 99" in cli("compile", source, "--attention-window", 99).failed(2)
    assert "after fuse" in cli("opt", source, "--attention-window", 3, "--passes", "fuse").failed(2)
    assert "1 or more, not -1" in cli("opt", source, "--passes", PASSES % -1).failed(2)
    data = tmp_path / "data.npz"
    np.savez(data, **samples(1)[0])
    assert "no pass approximates" in cli("compile", source, "--calibration", data, "--dry-run").failed(2)
    assert "there is none" in cli("compile", source, "--samples", 3, "--dry-run").failed(2)


def test_a_share_of_the_keys(cli: Cli, tmp_path: Path) -> None:
    source, artifact, report = tmp_path / "m.onnx", tmp_path / "m.dsc", tmp_path / "r.json"
    onnx.save(model(160).proto(), source)
    done = cli("compile", source, "--attention-keep", 0.4, "-o", artifact, "--json", report)
    assert done.code == 0, done.err
    found = json.loads(report.read_text())["approximation"]
    assert [(each["window"], each["keep"]) for each in found["attentions"]] == [(None, 0.4)] * 2
    rows = [line.split() for line in done.out.splitlines() if line.startswith("- ")]
    assert [row[:4] for row in rows] == [["-", "-", "0.4", f"{each['own']['snr']:.1f}"] for each in found["attentions"]]
    assert cli("inspect", artifact).code == 0
    done = cli("verify", source, "--module", artifact, "--samples", 1)
    assert done.code == 0, done.err
    done = cli("opt", source, "--attention-keep", 0.4, "--attention-window", 90, "--verify-each", "--stats")
    assert done.code == 0, done.err
    assert "sparsify-attention{window=90 keep=0.4}" in done.err
    assert "attention_keep = 4.000000e-01" in done.out
    assert "less than 1, not 1.5" in cli("compile", source, "--attention-keep", 1.5).failed(2)
