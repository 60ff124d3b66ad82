"""Damaged artifacts, wrong inputs, outputs that cannot be written."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from dsc.runtime import inspect
from tests.cli.conftest import Cli, small_model
from tests.compiled import TextModel


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A good input."""
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32))
    return path


def test_artifact_cut_short(cli: Cli, artifact: Path, image: Path, tmp_path: Path) -> None:
    data = artifact.read_bytes()
    for size in (0, 10, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.dsc").write_bytes(data[:size])
        assert "cut.dsc" in cli("run", tmp_path / "cut.dsc", "--input", image).failed(2)


def test_artifact_changed(cli: Cli, artifact: Path, image: Path, tmp_path: Path) -> None:
    """A flipped byte in the manifest or the code is found before anything of it is used."""
    import zipfile

    with zipfile.ZipFile(artifact) as archive:
        places = {info.filename: info.header_offset + info.file_size // 2 for info in archive.infolist()}
    for name in ("manifest.json", "lib.so"):
        data = bytearray(artifact.read_bytes())
        with zipfile.ZipFile(artifact) as archive:
            content = archive.read(name)
        start = bytes(data).index(content)
        data[start + len(content) // 2] ^= 1
        (tmp_path / "changed.dsc").write_bytes(data)
        assert "changed.dsc" in cli("run", tmp_path / "changed.dsc", "--input", image).failed(2), places
    data = bytearray(artifact.read_bytes())
    with zipfile.ZipFile(artifact) as archive:
        content = archive.read("weights.safetensors")
    data[bytes(data).index(content) + len(content) - 8] ^= 1
    (tmp_path / "changed.dsc").write_bytes(data)
    assert "changed.dsc" in cli("inspect", tmp_path / "changed.dsc", "--check").failed(2)


def test_artifact_for_another_cpu(cli: Cli, artifact: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dsc.runtime.devices import cpu

    monkeypatch.setattr(cpu, "cpu_features", lambda: frozenset({"sse2"}))
    message = cli("run", artifact, "--input", image).failed(2)
    assert "needs the CPU features" in message
    assert "compile the model again here" in message


def test_not_an_artifact(cli: Cli, model: Path, image: Path, tmp_path: Path) -> None:
    assert "small.onnx" in cli("run", model, "--input", image).failed(2)
    assert "none.dsc" in cli("run", tmp_path / "none.dsc", "--input", image).failed(2)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((1, 3, 16, 16)), r"float64.*astype\('float32'\)"),
        (np.zeros((3, 16, 16), np.float32), "needs 4 dims, was given shape"),
        (np.zeros((1, 3, 16, 17), np.float32), "dim 3 must be 16"),
    ],
)
def test_wrong_inputs(cli: Cli, artifact: Path, tmp_path: Path, array: np.ndarray, said: str) -> None:
    import re

    np.save(tmp_path / "x.npy", array)
    message = cli("run", artifact, "--input", tmp_path / "x.npy").failed(2)
    assert re.search(said, message), message
    assert "x: float32[n, 3, 16, 16]" in message


def test_wrong_names_and_files(cli: Cli, artifact: Path, image: Path, tmp_path: Path) -> None:
    assert "missing x" in cli("run", artifact).failed(2)
    assert "no input 'z'; it has x" in cli("run", artifact, "--input", f"z={image}").failed(2)
    np.savez(tmp_path / "other.npz", w=np.zeros(3))
    assert "unknown w" in cli("run", artifact, "--input", tmp_path / "other.npz").failed(2)
    assert "cannot be read" in cli("run", artifact, "--input", tmp_path / "none.npy").failed(2)
    (tmp_path / "bad.npy").write_bytes(b"nonsense")
    assert "cannot be read" in cli("run", artifact, "--input", tmp_path / "bad.npy").failed(2)
    (tmp_path / "bad.png").write_bytes(b"nonsense")
    assert "not an image" in cli("run", artifact, "--input", tmp_path / "bad.png").failed(2)
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "cannot be read" in cli("run", artifact, "--input", tmp_path / "evil.npy").failed(2)
    assert "inputs are read from" in cli("run", artifact, "--input", artifact).failed(2)


def test_unwritable(cli: Cli, model: Path, artifact: Path, image: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    nowhere = tmp_path / "none" / "out"
    assert "there is no folder" in cli("compile", model, "-o", f"{nowhere}.dsc").failed(2)
    assert "cannot write" in cli("compile", model, "-o", tmp_path / "file" / "out.dsc").failed(2)
    assert "is a directory" in cli("compile", model, "-o", tmp_path).failed(2)
    assert "cannot write" in cli("compile", model, "-o", tmp_path / "a.dsc", "--json", f"{nowhere}.json").failed(2)
    assert "cannot write" in cli("run", artifact, "--input", image, "-o", f"{nowhere}.npz").failed(2)
    assert "cannot write" in cli("opt", model, "-o", f"{nowhere}.mlir").failed(2)
    assert not (tmp_path / "a.dsc").exists()


def test_disk_full_leaves_the_old_file(tmp_path: Path) -> None:
    """Writing fails half way (a limit on sizes stands for a full disk): the old artifact stays, alone."""
    model = small_model()
    big = np.random.default_rng(1).standard_normal((4000, 1000)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(big, "big"))
    model.graph.node.append(onnx.helper.make_node("Identity", ["big"], ["z"], name="/big"))
    model.graph.output.append(onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [4000, 1000]))
    onnx.save(model, tmp_path / "big.onnx")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "big.dsc").write_text("the old one")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, 8 << 20))

    command = [
        sys.executable,
        "-c",
        "from dsc.cli import main; main()",
        "compile",
        str(tmp_path / "big.onnx"),
    ]
    command += ["-o", str(tmp_path / "out" / "big.dsc")]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out" / "big.dsc").read_text() == "the old one"
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_compressed_artifact(cli: Cli, tmp_path: Path) -> None:
    """It is smaller, gives the same numbers, and is refused like others where it is damaged."""
    random, path, plain = np.random.default_rng(2), tmp_path / "small.dsc", tmp_path / "plain.dsc"
    w = random.standard_normal((128, 96), np.float32) * (random.random((128, 96)) < 0.2).astype(np.float32)
    proto = TextModel("(float[4,128] x) => (float[4,96] y) { y = MatMul(x, w) }", {"w": w}).proto()
    onnx.save(proto, tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", random.standard_normal((4, 128), np.float32))
    assert cli("compile", tmp_path / "m.onnx", "-o", plain).code == 0
    assert cli("compile", tmp_path / "m.onnx", "--compress", "-o", path).code == 0
    sizes = [inspect(each).members["weights.safetensors"].size for each in (path, plain)]
    assert sizes[0] < 0.8 * sizes[1]
    for each, output in ((plain, "a.npz"), (path, "b.npz")):
        assert cli("run", each, "--input", tmp_path / "x.npy", "--output", tmp_path / output).code == 0
    with np.load(tmp_path / "a.npz") as expected, np.load(tmp_path / "b.npz") as found:
        np.testing.assert_array_equal(found["y"], expected["y"])
    assert cli("verify", tmp_path / "m.onnx", "--module", path).code == 0
    data = bytearray(path.read_bytes())
    data[inspect(path).members["weights.safetensors"].offset + 3000] ^= 1
    (tmp_path / "changed.dsc").write_bytes(data)
    said = cli("run", tmp_path / "changed.dsc", "--input", tmp_path / "x.npy").failed(2)
    assert "changed.dsc: weights.safetensors was changed after it was written" in said
    (tmp_path / "cut.dsc").write_bytes(path.read_bytes()[:-100])
    said = cli("run", tmp_path / "cut.dsc", "--input", tmp_path / "x.npy").failed(2)
    assert "cut.dsc is not a whole model.dsc file" in said
