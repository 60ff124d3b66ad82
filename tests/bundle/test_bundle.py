"""The folder: whole or not at all, nobody else's, the same for the same artifact, and complete."""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from dsc.bundle import write_bundle
from dsc.bundle.runner import BINARIES
from dsc.bundle.runtime import LIBRARIES, runtime_files
from dsc.errors import ArtifactError, UsageError
from dsc.files import writing_folder
from dsc.needs import Needs
from dsc.pipeline import compile_model
from dsc.runtime import inspect
from dsc.runtime.container import write_artifact
from dsc.runtime.manifest import Manifest, TensorSpec
from dsc.runtime.weights import Weight
from tests.bundle.bundles import Bundled, bundle
from tests.bundle.models import IMAGES
from tests.cli.conftest import Cli, cli
from tests.compiled import TextModel

__all__ = ["cli"]


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    """Hash and permissions of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mode)
        for path in files
    }


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_same_artifact_gives_the_same_bundle(images_artifact: Path, images: Bundled, tmp_path: Path) -> None:
    write_bundle(images_artifact, tmp_path / "other")
    assert contents(tmp_path / "other") == contents(images.folder)
    write_bundle(images_artifact, tmp_path / "other")  # in the place of one that is there
    assert contents(tmp_path / "other") == contents(images.folder)
    assert left(tmp_path) == ["other"]


def test_the_runner_does_not_depend_on_where_and_when_it_was_compiled(images: Bundled) -> None:
    """No names of folders, no build id, no symbol tables: compiled twice, it was the same byte for byte."""
    for name in BINARIES:
        content = (images.folder / name).read_bytes()
        assert tempfile.gettempdir().encode() not in content
        assert str(Path.home()).encode() + b"/" not in content
        assert b".note.gnu.build-id" not in content
        assert b".symtab" not in content


def test_what_is_in_it(images: Bundled) -> None:
    top = {name.partition("/")[0] for name in contents(images.folder)}
    assert top == {
        *("README.md", "CMakeLists.txt", "include", "src", "tool", "licenses", "manifest.json", "bundle.txt"),
        *("lib.so", "weights.safetensors", "libtvm_runtime.so", "libtvm_ffi.so", "libdsc.so", "dsc-run"),
    }
    assert len((images.folder / "README.md").read_text().splitlines()) == 3
    manifest = Manifest.from_json((images.folder / "manifest.json").read_bytes(), "bundle")
    assert {member.offset for member in manifest.members.values()} == {0}
    for name, member in manifest.members.items():
        assert (images.folder / name).stat().st_size == member.size
    listed = (images.folder / "CMakeLists.txt").read_text()
    for source in (*images.folder.glob("src/*.cpp"), *images.folder.glob("tool/*.cpp")):
        assert f"{source.parent.name}/{source.name}" in listed


def test_it_may_be_moved(images: Bundled, tmp_path: Path) -> None:
    moved = Bundled(tmp_path / "elsewhere" / "entirely", images.manifest)
    shutil.copytree(images.folder, moved.folder)
    x = np.random.default_rng(0).standard_normal((2, 3, 13, 11)).astype(np.float32)
    found = moved.run({"x": x}, tmp_path)[0]
    np.testing.assert_allclose(found, IMAGES.reference({"x": x})[0], rtol=1e-5, atol=1e-5)  # sums in another order
    assert moved.command(".", cwd=moved.folder).code == 0


def test_what_is_not_a_bundles_is_not_replaced(images_artifact: Path, cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "diary.txt").write_text("dear diary")
    said = cli("bundle", images_artifact, "-o", folder).failed(2)
    assert said.startswith(f"{folder} holds diary.txt, which is no file of a bundle: name another folder, or --force")
    (folder / "diary.txt").rename(folder / "lib.so")
    (folder / "src").symlink_to(tmp_path)
    assert "holds src, which is no file of a bundle" in cli("bundle", images_artifact, "-o", folder).failed(2)
    assert left(folder) == ["lib.so", "src"]
    assert cli("bundle", images_artifact, "-o", folder, "--force").code == 0
    assert "diary.txt" not in left(folder)
    assert left(tmp_path) == ["mine"]
    assert cli("bundle", images_artifact, "-o", folder).code == 0


def test_folders_that_cannot_be(images_artifact: Path, cli: Cli, tmp_path: Path) -> None:
    copy = shutil.copy(images_artifact, tmp_path / "a.dsc")
    for force in ([], ["--force"]):
        assert "in which" in cli("bundle", copy, "-o", tmp_path, *force).failed(2)
        assert "it is a file" in cli("bundle", copy, "-o", copy, *force).failed(2)
    (tmp_path / "file").touch()
    assert "it is a file, expected a folder" in cli("bundle", copy, "-o", tmp_path / "file", "--force").failed(2)
    assert "there is no folder" in cli("bundle", copy, "-o", tmp_path / "none" / "b").failed(2)
    assert left(tmp_path) == ["a.dsc", "file"]


def test_nothing_is_left_of_what_fails(images_artifact: Path, tmp_path: Path) -> None:
    failing = tmp_path / "failing"
    failing.write_text("#!/bin/sh\necho 'no: I will not' >&2\nexit 1\n")
    failing.chmod(0o755)
    before = tmp_path / "b"
    write_bundle(images_artifact, before)
    expected = contents(before)
    with pytest.raises(UsageError, match="failing could not compile the runner: no: I will not"):
        write_bundle(images_artifact, before, compiler=str(failing))
    with pytest.raises(UsageError, match="there is no compiler nonesuch-g"):
        write_bundle(images_artifact, before, compiler="nonesuch-g++")
    assert contents(before) == expected
    assert left(tmp_path) == ["b", "failing"]


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").touch()

    def fail() -> None:
        with writing_folder(target) as folder:
            (folder / "new").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert left(target) == ["old"]
    with writing_folder(target) as folder:
        (folder / "new").touch()
    assert left(target) == ["new"]
    assert left(tmp_path) == ["target"]
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="it is a file"), writing_folder(tmp_path / "file"):
        pass


def test_damaged_artifacts_and_others_are_refused(images_artifact: Path, cli: Cli, tmp_path: Path) -> None:
    content = bytearray(images_artifact.read_bytes())
    content[inspect(images_artifact).members["weights.safetensors"].offset + 900] ^= 4
    (tmp_path / "a.dsc").write_bytes(content)
    assert "was changed after it was written" in cli("bundle", tmp_path / "a.dsc").failed(2)
    (tmp_path / "a.onnx").write_bytes(b"no model")
    assert "compile it first" in cli("bundle", tmp_path / "a.onnx").failed(2)
    assert "cannot read" in cli("bundle", tmp_path / "none.dsc").failed(2)
    assert left(tmp_path) == ["a.dsc", "a.onnx"]


def artifact_for(path: Path, *needs: Needs, tvm: str | None = None, rank: int = 1) -> Path:
    """An artifact of that interface; its code is none."""
    specs = (TensorSpec("x", "float32", (2,) * rank),)
    versions = {"apache-tvm": tvm or runtime_files(platform.machine(), None).version.split()[-1]}
    manifest = Manifest("m", "somewhere:else", needs, specs, specs, ("w",), versions)
    weight = Weight("w", "float32", (3,), lambda: np.ones(3, np.float32))
    write_artifact(path, manifest, b"\x7fELF", [weight])
    return path


def test_artifacts_that_no_bundle_can_run(tmp_path: Path) -> None:
    cpu = Needs("cpu", {"arch": platform.machine(), "features": ()})
    other = artifact_for(tmp_path / "a.dsc", cpu, Needs("npu", {}))
    with pytest.raises(
        ArtifactError, match="runs on cpu, npu: there are bundles for CPUs and for the GPUs rocm and cuda"
    ):
        write_bundle(other, tmp_path / "b")
    old = artifact_for(tmp_path / "b.dsc", cpu, tvm="0.1.0")
    with pytest.raises(ArtifactError, match=r"was compiled with apache-tvm 0\.1\.0, here is"):
        write_bundle(old, tmp_path / "b")
    deep = artifact_for(tmp_path / "c.dsc", cpu, rank=17)
    with pytest.raises(ArtifactError, match="x has 17 dims, a bundle has tensors of 16"):
        write_bundle(deep, tmp_path / "b")
    nowhere = artifact_for(tmp_path / "d.dsc", Needs("cpu", {"arch": "../vax", "features": ()}))
    with pytest.raises(ArtifactError, match="does not say which processor it needs"):
        write_bundle(nowhere, tmp_path / "b")
    unnamed = artifact_for(tmp_path / "e.dsc", cpu, Needs("rocm", {"arch": "gfx 942"}))
    with pytest.raises(ArtifactError, match="does not say which GPU it needs"):
        write_bundle(unnamed, tmp_path / "b")
    assert left(tmp_path) == ["a.dsc", "b.dsc", "c.dsc", "d.dsc", "e.dsc"]


def test_an_artifact_that_changes_meanwhile(
    images_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = Path(shutil.copy(images_artifact, tmp_path / "a.dsc"))
    place = inspect(artifact).members["weights.safetensors"].offset + 900

    def change(*_: object) -> None:
        with artifact.open("r+b") as file:
            file.seek(place)
            file.write(b"changed")

    monkeypatch.setattr("dsc.bundle.bundle.find_compiler", change)
    with pytest.raises(ArtifactError, match="was changed while its bundle was written"):
        write_bundle(artifact, tmp_path / "b")
    assert left(tmp_path) == ["a.dsc"]


def test_without_a_compiler_for_the_processor(tmp_path: Path, cli: Cli) -> None:
    """The runtime is given by hand, as for what PyPI has no wheels for."""
    artifact = artifact_for(tmp_path / "a.dsc", Needs("cpu", {"arch": "vax", "features": ()}))
    (tmp_path / "runtime").mkdir()
    assert "cannot read the runtime library" in cli("bundle", artifact, "--runtime", tmp_path / "none").failed(2)
    for name in LIBRARIES:
        (tmp_path / "runtime" / name).write_bytes(b"\x7fELF" + bytes(14) + (75).to_bytes(2, "little") + b"of a vax")
    done = cli("bundle", artifact, "-o", tmp_path / "b", "--runtime", tmp_path / "runtime")
    assert done.code == 0, done.err
    assert "there is no C++ compiler for vax here" in done.out
    files = contents(tmp_path / "b")
    assert "dsc-run" not in files
    assert "src/dsc.cpp" in files
    assert (tmp_path / "b" / "libtvm_ffi.so").read_bytes().endswith(b"of a vax")


def test_a_runtime_for_another_processor(images_artifact: Path, tmp_path: Path) -> None:
    for number, said in ((243, "is for machine 243"), (183 if platform.machine() != "aarch64" else 62, "is for ")):
        for name in LIBRARIES:
            (tmp_path / name).write_bytes(b"\x7fELF" + bytes(14) + number.to_bytes(2, "little"))
        with pytest.raises(UsageError, match=f"{said}.*the model needs a runtime for {platform.machine()}"):
            write_bundle(images_artifact, tmp_path / "b", runtime=tmp_path)
    (tmp_path / LIBRARIES[0]).write_text("no library")
    with pytest.raises(UsageError, match="is no library"):
        write_bundle(images_artifact, tmp_path / "b", runtime=tmp_path)


def test_without_network(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip finds no index: one message that says what to do."""
    monkeypatch.setenv("DSC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    arch = "aarch64" if platform.machine() != "aarch64" else "x86_64"
    artifact = artifact_for(tmp_path / "a.dsc", Needs("cpu", {"arch": arch, "features": ()}))
    said = cli("bundle", artifact, "-o", tmp_path / "b").failed(2)
    assert said.startswith("apache-tvm ")
    assert "cannot be downloaded" in said
    assert f"libtvm_runtime.so for {arch} may be given by hand too: --runtime DIR" in said
    assert not (tmp_path / "b").exists()


def test_the_folder_is_named_as_the_module(
    images_artifact: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("bundle", images_artifact)
    assert done.code == 0, done.err
    assert done.out.startswith("wrote images, ")
    assert left(tmp_path) == ["images"]


def test_a_compressed_artifact_gives_the_same_bundle(tmp_path: Path) -> None:
    """Weights are expanded when the bundle is written: the runner maps them."""
    random = np.random.default_rng(3)
    zeros = random.standard_normal((128, 160), np.float32) * (random.random((128, 160)) < 0.1)
    weights = {"w": zeros.astype(np.float32), "b": random.standard_normal(160, np.float32)}
    text = "(float[n,128] x) => (float[n,160] y) { a = MatMul(x, w) y = Add(a, b) }"
    model = TextModel(text, weights)
    compiled = compile_model(model.proto()).model
    packed = compiled.compressed()
    assert {weight.compressed is None for weight in packed.weights} == {True, False}
    for name, each in (("plain", compiled), ("small", packed)):
        (tmp_path / name).mkdir()
        each.write(tmp_path / name / "m.dsc")
    plain, small = (bundle(tmp_path / name / "m.dsc", tmp_path / name / "m") for name in ("plain", "small"))
    assert contents(small.folder) == contents(plain.folder)
    x = random.standard_normal((7, 128)).astype(np.float32)
    np.testing.assert_allclose(small.run({"x": x}, tmp_path)[0], model.reference({"x": x})[0], atol=1e-4)
