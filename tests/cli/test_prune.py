"""`dsc prune`: what is written and said, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime
import pytest

from tests.cli.conftest import Cli
from tests.prune.nets import CHAIN, SHARED, rows

EVALUATIONS = """
import numpy as np
TESTS = [np.random.default_rng(i).standard_normal((3, 24)).astype(np.float32) for i in range(3)]
def near(run):
    near.first = getattr(near, "first", None)
    found = [run({"x": x})["y"] for x in TESTS]
    if near.first is None:
        near.first = found
    return -np.concatenate([np.abs(a - b).mean(1) for a, b in zip(found, near.first)])
def never(run):
    never.calls = getattr(never, "calls", 0) + 1
    return 1.0 if never.calls == 1 else 0.25
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, data for it, and evaluations."""
    onnx.save(SHARED.proto(), tmp_path / "m.onnx")
    np.savez(tmp_path / "data.npz", x=np.stack([feed["x"] for feed in rows(9)]))
    (tmp_path / "e.py").write_text(EVALUATIONS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_model_a_table_and_a_report(cli: Cli, work: Path) -> None:
    words = ("--sparsity", "50%", "--calibration", "data.npz", "--eval", "e.py:near", "--json", "p.json")
    ran = cli("prune", "m.onnx", *words, "-o", "p.onnx")
    assert ran.code == 0, ran
    report, model = json.loads(Path("p.json").read_text()), onnx.load("p.onnx")
    zeros = {t.name: int(np.sum(onnx.numpy_helper.to_array(t) == 0)) for t in model.graph.initializer}
    assert {layer["name"]: layer["zeros"] for layer in report["layers"]} == {"first": zeros["w"], "out": zeros["v"]}
    assert report["sparsity"] == pytest.approx((zeros["w"] + zeros["v"]) / (24 * 30)) == pytest.approx(0.5, abs=0.01)
    assert f"{report['sparsity']:.1%} of weights are 0: unstructured by admm; outputs at" in ran.out
    assert "wrote p.onnx; calibrated with" in ran.out
    (feed,) = rows(1, seed=8)
    wanted, got = (onnxruntime.InferenceSession(f).run(None, feed)[0] for f in ("m.onnx", "p.onnx"))
    assert 0 < np.linalg.norm(got - wanted) < 0.5 * np.linalg.norm(wanted)


def test_channels_that_are_gone(cli: Cli, work: Path) -> None:
    words = ("--pattern", "channels", "--sparsity", "40%", "--multiple", "2", "--calibration", "data.npz")
    onnx.save(CHAIN.proto(), "m.onnx")
    ran = cli("prune", "m.onnx", *words, "-o", "p.onnx", "--json", "p.json")
    assert ran.code == 0, ran
    report, model = json.loads(Path("p.json").read_text()), onnx.load("p.onnx")
    left = {t.name: int(np.prod(t.dims)) for t in model.graph.initializer}
    assert {layer["name"]: layer["size"] - layer["zeros"] for layer in report["layers"]} == {
        "first": left["w"], "second": left["u"], "out": left["v"],
    }  # fmt: skip
    assert f"{report['sparsity']:.1%} of weights are gone: channels by obs; outputs at" in ran.out
    assert "now 24x" in ran.out
    assert cli("prune", "m.onnx", "--sparsity", "40%", "--multiple", "2", "-o", "q.onnx").code == 2


def test_too_few_samples(cli: Cli, work: Path) -> None:
    words = ("--sparsity", "40%", "--calibration", "data.npz", "-o", "p.onnx")
    ran = cli("prune", "m.onnx", *words, "--samples", "2")
    assert ran.code == 0, ran
    assert "dsc: warning: 2 samples are too few to fit what stays" in ran.err
    assert "at least 3 are needed" in ran.err
    assert "warning" not in cli("prune", "m.onnx", *words).err


def test_a_speed(cli: Cli, work: Path) -> None:
    onnx.save(CHAIN.proto(), "m.onnx")
    words = ("--pattern", "channels", "--target", "arm:cortex-a76", "-o", "p.onnx", "--json", "p.json")
    ran = cli("prune", "m.onnx", "--speedup", "1.2x", *words)
    assert ran.code == 0, ran
    speed = json.loads(Path("p.json").read_text())["speed"]
    assert (speed["asked"], speed["measured"], speed["target"]) == (1.2, None, "arm:cortex-a76")
    assert f"{speed['estimated']:.2f} times as fast by estimate on arm:cortex-a76, not measured" in ran.out
    Path("p.onnx").unlink()
    ran = cli("prune", "m.onnx", "--speedup", "1000", *words)
    assert ran.code == 4, ran
    assert "1000 times as fast was asked for, on arm:cortex-a76: by estimate" in ran.err
    assert not Path("p.onnx").exists()
    assert cli("prune", "m.onnx", "--speedup", "fast", *words).code == 2


def test_an_accuracy_that_is_kept(cli: Cli, work: Path) -> None:
    words = ("--calibration", "data.npz", "--eval", "e.py:near", "--max-accuracy-drop", "0.2")
    ran = cli("prune", "m.onnx", *words, "-o", "p.onnx")
    assert ran.code == 0, ran
    assert "held out" in ran.out
    said = cli("prune", "m.onnx", "--eval", "e.py:never", "--max-accuracy-drop", "5%", "-o", "n.onnx").failed(4)
    assert "no more than 0.05 may be lost of 1.0000" in said
    assert not Path("n.onnx").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "how sparse?"),
        (["--sparsity", "100%"], "expected 0 or more, and less than 1"),
        (["--sparsity", "much"], "--sparsity much: expected a share"),
        (["--sparsity", "0.5", "--pattern", "2x"], "no sparsity pattern '2x'"),
        (["--sparsity", "0.5", "--method", "wanda"], "needs calibration data"),
        (["--sparsity", "0.5", "--samples", "3"], "--samples is of calibration data, and there is none"),
        (["--sparsity", "0.5", "--eval", "e.py:TESTS"], "is a list, expected a function"),
        (["--sparsity", "0.5", "--eval", "size"], "expected zoo:NAME, or FILE.py:NAME"),
        (["--sparsity", "0.5", "--policy", "no.toml"], "policy no.toml cannot be read"),
        (["--sparsity", "0.5", "--policy", "bad.toml"], "there is no 'sparsty' in a rule; is it sparsity"),
        (["--sparsity", "0.5", "--policy", "name.toml"], "no layer is called so; near are first"),
        (["--sparsity", "0.5", "-o", "m.onnx"], "would overwrite m.onnx"),
    ],
)
def test_what_is_refused(words: list[str], said: str, cli: Cli, work: Path) -> None:
    Path("bad.toml").write_text('[[rule]]\nsparsty = 0.5\nnames = ["first"]\n')
    Path("name.toml").write_text('[[rule]]\nsparsity = 0.5\nnames = ["frist"]\n')
    output = [] if "-o" in words else ["-o", "p.onnx"]
    assert said in cli("prune", "m.onnx", *output, *words).failed(2)
    assert not Path("p.onnx").exists()
