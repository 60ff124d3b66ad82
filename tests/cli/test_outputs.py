"""Nothing of the user's is overwritten: outputs are not inputs, and not each other, by whatever name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.external_data_helper
import pytest

from tests.cli.conftest import Cli, small_model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, artifact: Path) -> Path:
    """The working folder, with a model in two files, its artifact, an input, a plugin and a database."""
    monkeypatch.chdir(tmp_path)
    model = small_model()
    onnx.external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, "m.onnx")
    Path("m.dsc").write_bytes(artifact.read_bytes())
    np.save("x.npy", np.zeros((1, 3, 16, 16), np.float32))
    Path("plugin.py").write_text("")
    Path("t.jsonl").write_text("")
    Path("labels.txt").write_text("a\n")
    Path("link").symlink_to("m.onnx")
    os.link("weights.bin", "hard")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        "compile m.onnx -o m.onnx",
        "compile m.onnx -o ./x/../m.onnx",
        "compile m.onnx -o link",
        "compile link -o m.onnx",
        "compile m.onnx -o weights.bin",
        "compile m.onnx -o hard",
        "compile m.onnx --json m.onnx",
        "compile m.onnx --json weights.bin",
        "compile m.onnx -o same --json same",
        "compile m.onnx -o same --json x/../same",
        "compile m.onnx --json m.dsc",
        "compile m.onnx -o - --json -",
        "compile m.onnx -o - --json /dev/fd/1",
        "compile m.onnx --plugin plugin.py -o plugin.py",
        "compile m.onnx -O3 --db t.jsonl -o t.jsonl",
        "compile m.onnx -O3 --db m.onnx",
        "compile m.onnx -O3 --db new.jsonl --json new.jsonl",
        "compile m.onnx --dump-phases phases -o phases",
        "compile m.onnx --dump-phases x --json x/01-canonicalize.mlir",
        "compile m.onnx --dump-phases m.onnx",
        "opt m.onnx -o m.onnx",
        "opt m.onnx -o weights.mlir",
        "opt m.onnx --dump-phases x -o x/02-fuse.mlir",
        "run m.dsc -i x.npy -o m.dsc",
        "run m.dsc -i x.npy -o x.npy",
        "run m.dsc -i x=x.npy -o x.npy",
        "run m.dsc -i x.npy --top 1 --labels labels.txt -o labels.txt",
        "inspect m.dsc --json m.dsc",
        "inspect m.onnx --json weights.bin",
        "verify m.onnx --json m.onnx",
        "verify m.onnx --module m.dsc --json m.dsc",
        "verify m.onnx --module m.dsc -i x.npy --json x.npy",
        "bench m.onnx --json hard",
        "bench m.onnx --module m.dsc --json m.dsc",
    ],
)
def test_refused_before_anything_is_touched(cli: Cli, folder: Path, words: str) -> None:
    (folder / "x").mkdir()
    if "weights.mlir" in words:
        Path("weights.mlir").symlink_to("weights.bin")
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    message = cli(*words.split()).failed(2)
    assert any(said in message for said in ("would overwrite", "are the same file", "name another", "is not a folder"))
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert Path("link").is_symlink()


def test_weights_beside_an_onnx_file_do_not_hit_those_of_the_model(cli: Cli, folder: Path) -> None:
    model = small_model()
    onnx.external_data_helper.convert_model_to_external_data(model, location="o.onnx.data", size_threshold=0)
    onnx.save(model, "n.onnx")
    assert "o.onnx.data, which is read" in cli("opt", "n.onnx", "-o", "o.onnx").failed(2)


def test_what_is_suggested_for_a_model_does_not_destroy_it(cli: Cli, folder: Path) -> None:
    assert "`dsc compile m.onnx -o m.dsc`" in cli("run", "m.onnx").failed(2)


def test_null_takes_everything(cli: Cli, folder: Path) -> None:
    assert cli("inspect", "m.dsc", "--json", os.devnull).code == 0
    assert Path(os.devnull).is_char_device()


def dsc(*words: str, **how: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", "from dsc.cli import main; main()", *words]
    return subprocess.run(command, check=False, stderr=subprocess.PIPE, **how)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_a_report_on_the_standard_output_is_alone_there(folder: Path, name: str) -> None:
    done = dsc("inspect", "m.dsc", "--json", name, stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "small"
    assert b"float32" in done.stderr  # what people read
    assert not Path("-").exists()
    assert Path("/dev/stdout").is_symlink()


def test_a_whole_artifact_goes_through_a_pipe(folder: Path) -> None:
    done = dsc("compile", "m.onnx", "-o", "-", stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    Path("piped.dsc").write_bytes(done.stdout)
    assert dsc("inspect", "piped.dsc", "--check", stdout=subprocess.DEVNULL).returncode == 0


def closed() -> None:
    os.close(1)


def test_a_closed_standard_output(folder: Path) -> None:
    """The next file that is opened must not become the standard output."""
    done = dsc("inspect", "m.dsc", "--json", "r.json", preexec_fn=closed)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(Path("r.json").read_text())["name"] == "small"


def test_a_reader_that_leaves(folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = dsc("inspect", "m.dsc", stdout=writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_full_standard_output(folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = dsc("inspect", "m.dsc", stdout=full)
    assert done.returncode == 2
    assert done.stderr == b"dsc: error: the system refuses: No space left on device\n"


IGNORED: list[tuple[str, str]] = [
    ("compile m.onnx --time 5", "--time is for -O3"),
    ("compile m.onnx --db t.jsonl", "--db is for -O3"),
    ("verify m.onnx --db t.jsonl", "--db is for -O3"),
    ("bench m.onnx --time 5", "--time is for -O3"),
    ("bench m.onnx --module m.dsc -O1", "--opt-level says how to compile"),
    ("bench m.onnx --module m.dsc --target x86", "--target says how to compile"),
    ("compile m.onnx --threads 2", "--threads says how --max-latency is measured"),
    ("compile m.onnx --pinned", "--pinned is for models of the zoo"),
    ("run m.dsc -i x.npy --labels labels.txt", "--top"),
    ("run m.dsc -i x.npy --bgr", "--bgr is for images"),
    ("inspect m.onnx --check", "--check is for compiled modules"),
    ("inspect m.onnx --kernels", "--kernels is for compiled modules"),
    ("models fetch light-vgg19 --all", "--all is every model"),
    ("compile m.onnx -O3 --db none/t.jsonl", "there is no folder"),
    ("compile m.onnx -O3 --db .", "is not a regular file"),
]


@pytest.mark.parametrize(("words", "said"), IGNORED, ids=[words for words, _ in IGNORED])
def test_options_that_would_be_ignored_are_refused(cli: Cli, folder: Path, words: str, said: str) -> None:
    assert said in cli(*words.split()).failed(2)


@pytest.mark.parametrize(
    "words",
    [
        "--time nan -O3",
        "--time inf -O3",
        "--max-latency nan",
        "--max-size " + "9" * 400,
        "--shape x:99999999999999999999x3x16x16",
        "--shape x:²x3x16x16",
        "--threads 0 --max-latency 1",
        "--threads 1000 --max-latency 1",
    ],
)
def test_nonsense_numbers(cli: Cli, folder: Path, words: str) -> None:
    done = cli("compile", "m.onnx", *words.split())
    assert done.code == 2, done
    assert "internal error" not in done.err
    assert not Path("m.json").exists()


Run = Callable[..., subprocess.CompletedProcess[bytes]]
