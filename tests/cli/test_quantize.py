"""`dsc quantize`: what is written and said, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cli.conftest import Cli
from tests.quantize.nets import DENSE, PRODUCTS, names, samples

EVALUATIONS = """
import numpy as np
TESTS = [np.random.default_rng(i).standard_normal((3, 19)).astype(np.float32) for i in range(3)]
def size(run):
    return -float(np.mean([np.abs(run({"x": x})["y"]).mean() for x in TESTS]))
def never(run):
    never.calls = getattr(never, "calls", 0) + 1
    return 1.0 if never.calls == 1 else 0.25
def broken(run):
    return run({"z": TESTS[0]})["y"].sum()
def data():
    for x in TESTS:
        yield {"x": x + 1}
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, data for it, and evaluations."""
    onnx.save(DENSE.proto(), tmp_path / "m.onnx")
    onnx.save(PRODUCTS.proto(), tmp_path / "products.onnx")
    np.savez(tmp_path / "data.npz", x=np.stack([feed["x"] for feed in samples(DENSE, 5)]))
    np.savez(tmp_path / "products.npz", x=np.stack([feed["x"] for feed in samples(PRODUCTS, 3)]))
    (tmp_path / "e.py").write_text(EVALUATIONS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_model_a_table_and_a_report(cli: Cli, work: Path) -> None:
    ran = cli("quantize", "products.onnx", "--calibration", "products.npz", "-o", "q.onnx", "--json", "q.json")
    assert ran.code == 0, ran
    rows = {line.split()[0]: line.split() for line in ran.out.splitlines() if line}
    assert rows["key"][1] == "MatMul"
    assert rows["key"][-1] == "integers"
    assert rows["scores"][3:] == ["float", "both", "factors", "are", "computed"]
    assert "wrote q.onnx" in ran.out
    assert len(names(onnx.load("q.onnx"), "QuantizeLinear")) == 2
    report = json.loads(Path("q.json").read_text())
    assert [layer["quantized"] for layer in report["layers"]] == [True, False, False, True]
    assert report["share"] == pytest.approx(sum(x["size"] * x["quantized"] for x in report["layers"]) / 14_760)
    assert f"{report['share']:.1%} of multiply-adds quantized" in ran.out
    assert report["accuracy"] is None


def test_a_policy_and_the_list_that_makes_one(cli: Cli, work: Path) -> None:
    Path("policy.toml").write_text('[[rule]]\nkeep = "float"\nnames = ["first"]\n')
    words = ("quantize", "m.onnx", "--calibration", "e.py:data", "-o", "q.onnx")
    ran = cli(*words, "--policy", "policy.toml", "--calibrator", "mse")
    assert ran.code == 0, ran
    assert "the policy keeps first in float" in ran.out
    printed = ran.out[ran.out.index("[[rule]]") : ran.out.index("]\n", ran.out.index("names")) + 2]
    Path("again.toml").write_text(printed)
    before = Path("q.onnx").read_bytes()
    assert cli(*words, "--policy", "again.toml", "--calibrator", "mse").code == 0
    assert Path("q.onnx").read_bytes() == before


def test_methods_on_the_command_line_go_before_those_of_the_policy(cli: Cli, work: Path) -> None:
    Path("policy.toml").write_text('[scheme]\nequalizes = true\nrounding = "adaptive"\nper_channel = false\n')
    words = ("quantize", "m.onnx", "--calibration", "data.npz", "-o", "q.onnx", "--policy", "policy.toml")
    ran = cli(*words, "--rounding", "nearest", "--json", "q.json")
    assert ran.code == 0, ran
    rows = {line.split()[0]: line.rstrip() for line in ran.out.splitlines() if line}
    assert rows["first"].endswith("equalized with second")
    assert rows["second"].endswith("equalized with first")
    layers = json.loads(Path("q.json").read_text())["layers"]
    assert [f"{layer['gain']:+.1f}" for layer in layers] == [rows[name].split()[4] for name in ("first", "second")]
    said = cli(*words, "--no-equalize").out
    assert "equalized" not in said
    assert "rounded" in said


def test_accuracy(cli: Cli, work: Path) -> None:
    words = ("quantize", "m.onnx", "--calibration", "data.npz", "-o", "q.onnx", "--max-accuracy-drop", "5%")
    ran = cli(*words, "--eval", "e.py:size")
    assert ran.code == 0, ran
    assert "1 evaluations" in ran.out
    Path("q.onnx").unlink()
    said = cli(*words, "--eval", "e.py:never").failed(4)
    assert "no more than 0.05 may be lost of 1.0000: with 0 of 2 layers in float it is 0.2500" in said
    assert not Path("q.onnx").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--calibration", "nothing.npz"], "nothing.npz"),
        (["--calibration", "zoo:text-line"], "no data set 'text-line'; is it text-lines"),
        (["--calibration", "data.npz", "--scheme", "int3"], "no scheme 'int3'; there are int8, dynamic"),
        (["--calibration", "data.npz", "--calibrator", "entrop"], "is it entropy"),
        (["--calibration", "data.npz", "--eval", "size"], "expected zoo:NAME, or FILE.py:NAME"),
        (["--calibration", "data.npz", "--eval", "e.py:sizes"], "defines no 'sizes'"),
        (["--calibration", "data.npz", "--eval", "e.py:TESTS"], "is a list, expected a function"),
        (["--calibration", "data.npz", "--eval", "e.py:broken"], "does not run on these inputs"),
        (["--calibration", "data.npz", "--max-accuracy-drop", "1%"], "nothing says what the accuracy is"),
        (["--calibration", "data.npz", "--eval", "e.py:size", "--max-accuracy-drop", "much"], "expected a share"),
        (["--calibration", "data.npz", "--target", "x87"], "x87"),
        (["--calibration", "data.npz", "--rounding", "up"], "rounding = 'up'; it is one of ('nearest', 'adaptive')"),
        (
            ["--calibration", "data.npz", "--smoothing", "on"],
            "smoothing = 'on'; it is one of ('none', 'fold', 'insert')",
        ),
        (["--scheme", "dynamic", "--equalize"], "--equalize"),
        (["--calibration", "data.npz", "--policy", "no.toml"], "policy no.toml cannot be read"),
        (["--calibration", "data.npz", "-o", "m.onnx"], "would overwrite m.onnx"),
        (["--calibration", "data.npz", "--json", "data.npz"], "would overwrite data.npz"),
    ],
)
def test_what_is_refused(words: list[str], said: str, cli: Cli, work: Path) -> None:
    output = [] if "-o" in words else ["-o", "q.onnx"]
    assert said in cli("quantize", "m.onnx", *output, *words).failed(2)
    assert not Path("q.onnx").exists()


def test_half_precision(cli: Cli, work: Path) -> None:
    Path("policy.toml").write_text('[[rule]]\nkeep = "float"\nops = ["MatMul"]\nnames = ["out"]\n')
    words = ("quantize", "products.onnx", "--scheme", "fp16", "-o", "half.onnx")
    ran = cli(*words, "--policy", "policy.toml", "--json", "half.json")
    assert ran.code == 0, ran
    rows = {line.split()[0]: line.split()[3:] for line in ran.out.splitlines() if line}
    assert rows["key"] == [rows["key"][0], "fp16"]
    assert rows["soft"] == "float norms, softmax and reductions are in float32".split()
    assert rows["out"][1:] == "float the policy keeps MatMul out in float".split()
    report = json.loads(Path("half.json").read_text())
    assert {layer["name"] for layer in report["layers"] if layer["half"] == "fp16"} == {
        "key", "key_bias", "scores", "mix",
    }  # fmt: skip
    assert "of weights quantized" in ran.out
    said = cli(*words, "--calibrator", "mse").failed(2)
    assert "a calibrator is for scheme int8; this is fp16" in said
