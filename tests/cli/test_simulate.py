"""`dsc verify --simulate`: a GPU's code on the CPU."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dsc.simulator import Simulation
from tests.cli.conftest import Cli

SIZES = ("--target", "cuda:sm_80", "--shape", "x:2x3x16x16", "--samples", 1)


def test_a_model_on_the_simulated_device(cli: Cli, model: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = cli("verify", model, *SIZES, "--simulate", "--order", "reverse", "--json", report)
    assert done.code == 0, done.err
    assert "equal to ONNX Runtime on 1 sample(s)" in done.out
    simulated = json.loads(report.read_text())["simulated"]
    assert 2 <= len(simulated) <= 4
    assert all(counters["launches"] >= 1 and counters["threads"] >= 32 for counters in simulated.values())
    assert all(name in done.out for name in simulated)


def test_a_kernel_that_breaks_a_rule(cli: Cli, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Barriers are left out of what is compiled."""
    whole = Simulation.compile
    monkeypatch.setattr(Simulation, "compile", lambda self, source: whole(self, source.replace("__syncthreads();", "")))
    message = cli("verify", model, *SIZES, "--simulate").failed(5)
    assert re.match(r"kernel gpu_\w+, block \(.*\), thread \(.*\): ", message)
    assert "which nobody has written" in message or "with no barrier in between" in message


def test_what_does_not_go_together(cli: Cli, model: Path, artifact: Path) -> None:
    assert "--order is for --simulate" in cli("verify", model, "--order", "reverse").failed(2)
    assert "cannot be simulated" in cli("verify", model, "--simulate", "--target", "x86").failed(2)
    assert "not with --module" in cli("verify", model, *SIZES, "--simulate", "--module", artifact).failed(2)
    assert "-O3 measures" in cli("verify", model, *SIZES, "--simulate", "-O3").failed(2)
    assert "'sideways' is none of" in cli("verify", model, *SIZES, "--simulate", "--order", "sideways").failed(2)
