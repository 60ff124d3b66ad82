"""What the verbs do when all is well, and the exit codes of budgets, faults and interruptions."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import dsc.cli
import dsc.cli.app
import dsc.cli.compile
from dsc import __version__
from dsc.sparsity import Pattern
from tests.cli.conftest import Cli
from tests.compiled import TextModel


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version").out == f"dsc {__version__}\n"
    verbs = cli("--help").out
    for verb in ("compile", "run", "bench", "verify", "opt", "inspect", "models"):
        assert verb in verbs
        assert cli(verb, "--help").code == 0


def test_usage_errors_have_code_2(cli: Cli, model: Path) -> None:
    assert cli("compile").code == 2
    assert cli("frobnicate").code == 2
    assert cli("compile", model, "-O7").code == 2
    assert "unknown target 'vax'" in cli("compile", model, "--target", "vax").failed(2)
    assert "there is no pass 'fuze'" in cli("compile", model, "-p", "fuze").failed(2)
    assert "no input 'z'" in cli("compile", model, "--shape", "z:1x2").failed(2)
    assert "is not a Python file" in cli("opt", model, "--plugin", model.parent / "none.py").failed(2)


def test_compile_run_and_report(cli: Cli, model: Path, tmp_path: Path) -> None:
    output, report = tmp_path / "small.dsc", tmp_path / "report.json"
    done = cli("compile", model, "-o", output, "--json", report, "--dump-phases", tmp_path / "phases")
    assert done.code == 0, done.err
    assert f"wrote {output}" in done.out
    said = json.loads(report.read_text())
    assert said["output"] == str(output)
    assert said["opt_level"] == 2
    assert {"passes", "kernels", "bytes", "seconds", "versions", "regions"} <= said.keys()
    assert all(kernel["estimate"] > 0 for kernel in said["kernels"])
    assert sorted((tmp_path / "phases").glob("*-canonicalize.mlir"))

    x = np.random.default_rng(3).standard_normal((2, 3, 16, 16)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    done = cli("run", output, "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npz", "--top", 2)
    assert done.code == 0, done.err
    assert "top 2 of y" in done.out
    expected = onnxruntime.InferenceSession(str(model)).run(None, {"x": x})[0]
    with np.load(tmp_path / "y.npz") as found:
        # float32 sums in another order
        np.testing.assert_allclose(found["y"], expected, atol=1e-4)


def test_measured_kernels_are_remembered(cli: Cli, model: Path, tmp_path: Path) -> None:
    """-O3 measures within its time, writes what it found, and results stay right."""
    db = tmp_path / "tuning.jsonl"
    done = cli("verify", model, "-O3", "--time", "2", "--db", db, "--samples", 1, "--shape", "x:2x3x16x16")
    assert done.code == 0, done.err
    entries = [json.loads(line) for line in db.read_text().splitlines()]
    assert entries
    assert cli("compile", model, "-O3", "--time", "2", "--db", db, "-o", tmp_path / "s.dsc").code == 0


def test_npz_and_images(cli: Cli, artifact: Path, tmp_path: Path) -> None:
    from PIL import Image

    x = np.random.default_rng(4).standard_normal((1, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=x)
    assert cli("run", artifact, "--input", tmp_path / "in.npz", "-o", tmp_path / "a.npz").code == 0
    assert cli("run", artifact, "--input", f"x={tmp_path / 'in.npz'}", "-o", tmp_path / "b.npz").code == 0
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    pixels = np.random.default_rng(5).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    options = ("--mean", "10,20,30", "--std", "50", "--bgr")
    assert cli("run", artifact, "--input", tmp_path / "photo.png", *options, "-o", tmp_path / "c.npz").code == 0
    by_hand = ((pixels[..., ::-1].astype(np.float32) - np.float32([10, 20, 30])) / np.float32(50)).transpose(2, 0, 1)
    np.save(tmp_path / "photo.npy", np.ascontiguousarray(by_hand[None]))
    assert cli("run", artifact, "--input", tmp_path / "photo.npy", "-o", tmp_path / "d.npz").code == 0
    assert (tmp_path / "c.npz").read_bytes() == (tmp_path / "d.npz").read_bytes()


def test_dry_run_writes_nothing(cli: Cli, model: Path, tmp_path: Path) -> None:
    assert cli("compile", model, "-o", tmp_path / "small.dsc", "--dry-run").code == 0
    assert not list(tmp_path.iterdir())


def test_budgets(cli: Cli, model: Path, tmp_path: Path) -> None:
    output, report = tmp_path / "small.dsc", tmp_path / "report.json"
    message = cli("compile", model, "-o", output, "--max-size", "1KB", "--json", report).failed(4)
    assert "--max-size is 1,000" in message
    assert json.loads(report.read_text())["missed"]
    assert not output.exists()
    message = cli("compile", model, "-o", output, "--max-latency", "0.000001").failed(4)
    assert "--max-latency is 1e-06 ms" in message
    assert not output.exists()
    assert cli("compile", model, "-o", output, "--max-size", "10MB", "--max-latency", "1000").code == 0
    assert output.exists()


def test_opt_prints_ir_and_writes_onnx(cli: Cli, model: Path, tmp_path: Path) -> None:
    text = cli("opt", model, "-p", "canonicalize").out
    assert text.startswith("builtin.module")
    assert "onnx.Conv" in text
    done = cli("opt", model, "--verify-each", "--print-ir-after", "canonicalize", "-o", tmp_path / "o.onnx")
    assert done.code == 0, done.err
    x = np.random.default_rng(6).standard_normal((2, 3, 16, 16)).astype(np.float32)
    sessions = [onnxruntime.InferenceSession(str(path)) for path in (model, tmp_path / "o.onnx")]
    before, after = (session.run(None, {"x": x})[0] for session in sessions)
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert "ends in .mlir or .onnx" in cli("opt", model, "-o", tmp_path / "o.txt").failed(2)


def test_plugin(cli: Cli, model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from dsc.passes import Pass\n"
        "@dataclass(frozen=True)\n"
        "class Sabotage(Pass):\n"
        "    name = 'sabotage'\n"
        "    def apply(self, graph, record):\n"
        "        for op in graph.ops():\n"
        "            if op.name == 'onnx.Relu':\n"
        "                from dsc.ir import onnx\n"
        "                new = onnx.Sigmoid.make(op.operands[0])\n"
        "                graph.body.insert_op_before(new, op)\n"
        "                op.results[0].replace_all_uses_with(new.out)\n"
        "                graph.body.erase_op(op)\n"
        "                record.fire('relu => sigmoid')\n"
    )
    options = ("--plugin", tmp_path / "mine.py", "-p", "canonicalize,sabotage")
    assert "onnx.Sigmoid" in cli("opt", model, *options).out
    message = cli("opt", model, *options, "--verify-each").failed(5)
    assert "pass 2, sabotage, changed the model's results" in message
    message = cli("verify", model, *options, "--json", tmp_path / "v.json").failed(5)
    assert "pass 2, sabotage, changed the model's results" in message
    assert json.loads((tmp_path / "v.json").read_text())["passed"] is False


def test_verify(cli: Cli, model: Path, artifact: Path, tmp_path: Path) -> None:
    done = cli("verify", model, "--json", tmp_path / "v.json")
    assert done.code == 0, done.err
    assert done.out.startswith("equal to ONNX Runtime on 3 sample(s)")
    assert json.loads((tmp_path / "v.json").read_text())["passed"] is True
    assert cli("verify", model, "--module", artifact, "--samples", 1).code == 0


def test_verify_finds_an_artifact_of_another_model(cli: Cli, model: Path, artifact: Path, tmp_path: Path) -> None:
    """The weights changed since it was compiled: both are named with their hashes, and nothing is run."""
    changed = onnx.load(model)
    weight = onnx.numpy_helper.to_array(changed.graph.initializer[0]) * 2
    changed.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, "conv.w"))
    onnx.save(changed, tmp_path / "changed.onnx")
    message = cli("verify", tmp_path / "changed.onnx", "--module", artifact).failed(5)
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (model, tmp_path / "changed.onnx")]
    assert f"{artifact} was made of another model than {tmp_path / 'changed.onnx'}" in message
    assert f"carries the hash {hashes[0]}" in message
    assert f"has {hashes[1]}" in message


def test_verify_on_given_samples_and_ranges(cli: Cli, model: Path, artifact: Path, tmp_path: Path) -> None:
    """One sample, or a stack of them; what was compared is said, and is in the report."""
    x = np.random.default_rng(8).standard_normal((2, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "one.npz", x=x)
    np.savez(tmp_path / "three.npz", x=np.stack([x, -x, 2 * x]))
    words = ("verify", model, "--module", artifact)
    done = cli(*words, "--data", tmp_path / "one.npz", "--data", tmp_path / "three.npz", "--json", tmp_path / "v.json")
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "v.json").read_text())
    assert (report["samples"], report["failed_samples"], report["culprit"]) == (4, [], None)
    assert report["outputs"][0]["name"] == "y"
    assert report["outputs"][0]["passed"] is True
    done = cli(*words, "--range", "x:100:101", "--samples", 2, "--seed", 7)
    assert "inputs: random, seeds 7, 8: x float32[2, 3, 16, 16]; x float32[1, 3, 16, 16]" in done.out, done
    assert "expected NAME:LOW:HIGH" in cli(*words, "--range", "x:1").failed(2)
    assert "must be less" in cli(*words, "--range", "x:2:1").failed(2)
    assert "the model's inputs are x" in cli(*words, "--range", "z:0:1").failed(2)
    np.savez(tmp_path / "other.npz", z=x)
    np.savez(tmp_path / "none.npz", x=np.zeros((0, *x.shape), np.float32))
    assert "holds stacks of no samples" in cli(*words, "--data", tmp_path / "none.npz").failed(2)
    assert cli(*words, "--atol", "nan", "--samples", 1).code == 2
    assert "holds z; the model takes x" in cli(*words, "--data", tmp_path / "other.npz").failed(2)


def test_verify_with_a_tolerance(cli: Cli, model: Path, artifact: Path, tmp_path: Path) -> None:
    """What is given is final; where it fails, no pass and no kernel is blamed, and what would pass is printed."""
    words = ("verify", model, "--module", artifact, "--samples", 1, "--json", tmp_path / "v.json")
    assert cli(*words, "--atol", "1e-2").code == 0
    done = cli(*words, "--atol", 0)
    assert "small differences add up" in done.failed(5)
    report = json.loads((tmp_path / "v.json").read_text())
    assert (report["passed"], report["culprit"]["fault"]) == (False, "unknown")
    atol = re.search(r"it would pass with --atol (\S+)", done.out)
    assert atol is not None
    assert cli(*words, "--atol", atol[1]).code == 0


def test_verify_warns_of_an_artifact_of_unknown_origin(cli: Cli, model: Path, tmp_path: Path) -> None:
    """A graph in memory is no file: the artifact carries no hash."""
    dsc.compile(dsc.import_onnx(model)).save(tmp_path / "graph.dsc")
    done = cli("verify", model, "--module", tmp_path / "graph.dsc", "--samples", 1)
    assert done.code == 0, done.err
    assert "graph.dsc does not say which model it was made of" in done.err


def test_inspect(cli: Cli, model: Path, artifact: Path, tmp_path: Path) -> None:
    done = cli("inspect", artifact, "--check", "--kernels", "--json", tmp_path / "i.json")
    assert done.code == 0, done.err
    assert "x: float32[n, 3, 16, 16]" in done.out, done.out
    assert "all hashes match" in done.out
    assert json.loads((tmp_path / "i.json").read_text())["name"] == "small"
    assert "onnx.Conv" in cli("inspect", model).out


def test_inspect_sparsity(cli: Cli, tmp_path: Path) -> None:
    """Of a model, what its zeros follow; of an artifact, what they brought, and what its weights take."""
    random = np.random.default_rng(9)
    mask = Pattern.parse("4x1").keep(random.random((192, 256)), 0.1).T
    weights = {
        "w": (random.standard_normal((256, 192)) * mask).astype(np.float32),
        "v": random.standard_normal((192, 64)).astype(np.float32),
    }
    text = "(float[64,256] x) => (float[64,64] y) { [first] a = MatMul(x, w) [second] y = MatMul(a, v) }"
    onnx.save(TextModel(text, weights).proto(), tmp_path / "m.onnx")
    done = cli("inspect", tmp_path / "m.onnx", "--sparsity", "--json", tmp_path / "i.json")
    assert done.code == 0, done.err
    row = next(line.split() for line in done.out.splitlines() if line.startswith("first"))
    assert row[:6] == ["first", "MatMul", "256x192", "float32", "90.0", "4x1"]
    assert "% of 61,440 weights of products and convolutions are 0" in done.out
    first, second = json.loads((tmp_path / "i.json").read_text())["weights"]
    assert (first["pattern"], second["pattern"], second["zeros"]) == ("4x1", "", 0.0)
    cli("inspect", tmp_path / "m.onnx", "--json", tmp_path / "i.json")
    assert "weights" not in json.loads((tmp_path / "i.json").read_text())

    done = cli("compile", tmp_path / "m.onnx", "--compress", "-o", tmp_path / "m.dsc", "--json", tmp_path / "c.json")
    assert "zeros are skipped in 1 layers of 2; 1 could" in done.out
    first, second = json.loads((tmp_path / "c.json").read_text())["layers"]
    assert (first["kernel"], first["reason"], second["reason"]) == ("cpu.sparse_matmul", "", "no zeros")
    done = cli("inspect", tmp_path / "m.dsc", "--sparsity", "--json", tmp_path / "i.json")
    assert done.code == 0, done.err
    row = next(line.split() for line in done.out.splitlines() if line.startswith("first"))
    assert row[:5] == ["first", "MatMul", "256x192", "90.0", "4x1"]
    assert row[6] == "cpu.sparse_matmul"
    assert float(row[7]) == pytest.approx(first["predicted"], abs=0.01)
    report = json.loads((tmp_path / "i.json").read_text())
    assert report["verdicts"] == [first, second]
    kinds = {kind["name"]: kind for kind in report["weights"]}
    assert set(kinds) == {"float32", "float32 of weights without zeros", "int32 of weights without zeros"}
    assert all(kind["bytes"] < kind["expanded_bytes"] for kind in kinds.values())


def test_bench(cli: Cli, model: Path, artifact: Path, tmp_path: Path) -> None:
    report = tmp_path / "b.json"
    options = ("--against", "onnxruntime", "--rounds", 1, "--threads", "1,2", "--json", report)
    done = cli("bench", model, *options)
    assert done.code == 0, done.err
    results = json.loads(report.read_text())["results"]
    assert [result["threads"] for result in results] == [1, 2]
    assert all(result["timings"]["dsc"]["median_ms"] > 0 for result in results)
    assert all(result["speedup"]["onnxruntime"] > 0 for result in results)
    assert cli("bench", model, "--module", artifact, "--rounds", 1).code == 0
    assert "cannot be timed against 'tflite'" in cli("bench", model, "--against", "tflite").failed(2)
    assert "a model, or --zoo" in cli("bench").failed(2)
    assert "give the ONNX file" in cli("bench", artifact).failed(2)


def test_models(cli: Cli) -> None:
    listed = cli("models", "list").out
    assert "efficientnet-lite0" in listed
    assert "top-1 85 %" in listed
    assert cli("models", "fetch", "light-squeezenet").out.strip().endswith(".onnx")
    assert "say which models" in cli("models", "fetch").failed(2)
    assert "no model 'bert-bse'; is it bert-base" in cli("models", "fetch", "bert-bse").failed(2)


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_interrupted(cli: Cli, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsc.cli.compile, "find_model", raising(KeyboardInterrupt()))
    assert cli("compile", model).failed(130) == "interrupted"


def test_internal_error_is_one_line_unless_asked(cli: Cli, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsc.cli.compile, "find_model", raising(ZeroDivisionError("division\nby zero")))
    message = cli("compile", model).failed(1)
    assert message == "internal error: ZeroDivisionError: division (set DSC_DEBUG=1 for the traceback)"
    monkeypatch.setenv("DSC_DEBUG", "1")
    assert "Traceback" in cli("compile", model).err


def test_interrupted_while_modules_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsc.cli.app, "app", raising(KeyboardInterrupt()))
    with pytest.raises(SystemExit) as stopped:
        dsc.cli.main()
    assert stopped.value.code == 130
