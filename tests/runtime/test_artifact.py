"""The file: its layout, its determinism, and everything that can be wrong with it."""

from __future__ import annotations

import json
import os
import platform
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from dsc.elements import ELEMENT_TYPES, stored
from dsc.errors import ArtifactError, UsageError
from dsc.needs import Needs
from dsc.runtime import inspect, load
from dsc.runtime.container import write_artifact
from dsc.runtime.manifest import FORMAT, WEIGHTS
from dsc.runtime.weights import Weight, parse
from tests.runtime.artifacts import Sum


def test_it_is_a_plain_zip_with_page_aligned_stored_members(artifact: Path) -> None:
    manifest = inspect(artifact, check=True)
    with zipfile.ZipFile(artifact) as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert json.loads(archive.read("manifest.json"))["name"] == "sum"
    assert {member.offset % 4096 for member in manifest.members.values()} == {0}


def test_weights_are_safetensors_aligned_for_vector_loads(artifact: Path, compiled_sum: Sum) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    with zipfile.ZipFile(artifact) as archive:
        content = archive.read(WEIGHTS)
    for name, array in zip(compiled_sum.manifest.parameters, compiled_sum.arrays, strict=True):
        np.testing.assert_array_equal(safetensors.load(content)[name], array)


def test_odd_sizes_and_all_dtypes_survive_and_stay_aligned(tmp_path: Path, compiled_sum: Sum) -> None:
    rng = np.random.default_rng(1)
    arrays = {
        dtype: (rng.random((3, 5)) * 100).astype(dtype)
        for dtype in ("float64", "float16", "int64", "int32", "int16", "int8", "uint8", "uint16", "bool")
    }
    arrays["empty"], arrays["scalar"] = np.zeros((0, 4), np.float32), np.array(3.5, np.float32)
    weights = [Weight(n, a.dtype.name, a.shape, lambda a=a: a) for n, a in arrays.items()]
    path = tmp_path / "odd.dsc"
    write_artifact(path, compiled_sum.manifest, compiled_sum.library, weights)
    with zipfile.ZipFile(path) as archive:
        loaded = pytest.importorskip("safetensors.numpy").load(archive.read(WEIGHTS))
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_types_that_numpy_does_not_have_are_bytes_with_a_name(tmp_path: Path, compiled_sum: Sum) -> None:
    """Any reader of safetensors takes the file, and finds what they are in its metadata; ours gives them back."""
    types = [e.dtype for e in ELEMENT_TYPES if e.encoding is not None]
    arrays = {f"w.{d.name}": np.arange(3 * d.itemsize, dtype=np.uint8).view(d) for d in types}
    weights = [Weight(n, a.dtype.name, a.shape, lambda a=a: a) for n, a in arrays.items()]
    path = tmp_path / "narrow.dsc"
    write_artifact(path, compiled_sum.manifest, compiled_sum.library, weights)
    with zipfile.ZipFile(path) as archive:
        content = archive.read(WEIGHTS)
    entries, start = parse(memoryview(content), "narrow")
    loaded = pytest.importorskip("safetensors.numpy").load(content)
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], stored(array))
        entry = entries[name]
        assert entry.dtype == array.dtype
        assert content[start + entry.offset :][: entry.size] == array.tobytes()
    for wrong in (b'"float8_e5m2"', b'"bfloat16"', b'"float9"', b"17"):
        named = b'"w.int4":"int4"'
        changed = content.replace(named, b'"w.int4":' + wrong)
        length = int.from_bytes(content[:8], "little") + len(changed) - len(content)
        changed = length.to_bytes(8, "little") + changed[8:]
        if wrong == b'"float8_e5m2"':
            assert parse(memoryview(changed), "narrow")[0]["w.int4"].dtype == ml_dtypes.float8_e5m2
            continue
        with pytest.raises(ArtifactError, match="__metadata__"):
            parse(memoryview(changed), "narrow")


def test_same_content_is_same_bytes(compiled_sum: Sum, tmp_path: Path) -> None:
    first, second = compiled_sum.write(tmp_path / "a.dsc"), compiled_sum.write(tmp_path / "b.dsc")
    assert first.read_bytes() == second.read_bytes()


def test_weights_are_asked_for_one_at_a_time(compiled_sum: Sum, tmp_path: Path) -> None:
    alive: list[str] = []

    class Counted(np.ndarray):
        def __del__(self) -> None:
            alive.remove("x")

    def make() -> np.ndarray:
        assert not alive, "the one before is still in memory"
        alive.append("x")
        return np.ones(100, np.float32).view(Counted)

    weights = [Weight(f"w{i}", "float32", (100,), make) for i in range(3)]
    write_artifact(tmp_path / "s.dsc", compiled_sum.manifest, compiled_sum.library, weights)


@pytest.mark.parametrize("kept", [0, 1, 100, 5000, -1, -30, -200])
def test_truncated(artifact: Path, kept: int) -> None:
    content = artifact.read_bytes()
    artifact.write_bytes(content[:kept])
    with pytest.raises(ArtifactError, match=r"sum\.dsc.*(cut short|not a whole|compile)"):
        load(artifact)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x7fELF" + bytes(500), b"PK\x05\x06" + bytes(18)])
def test_foreign_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.dsc"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"other.dsc"):
        load(path)


def test_foreign_zip(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.jpg", b"...")
    with pytest.raises(ArtifactError, match="is a ZIP file but not one that dsc wrote"):
        load(path)


def _rewritten(compiled_sum: Sum, path: Path, **changes: object) -> Path:
    changed = replace(compiled_sum, manifest=replace(compiled_sum.manifest, **changes))
    return changed.write(path)


def _cpu(arch: str = platform.machine(), features: tuple[str, ...] = ()) -> tuple[Needs]:
    return (Needs("cpu", {"arch": arch, "features": features}),)


def test_made_for_a_device_that_nobody_knows(compiled_sum: Sum, tmp_path: Path) -> None:
    needs = (*_cpu(), Needs("abacus", {"beads": "70"}))
    path = _rewritten(compiled_sum, tmp_path / "m.dsc", needs=needs)
    with pytest.raises(ArtifactError, match=r"m.dsc needs a device 'abacus'.*there are cpu"):
        load(path)
    assert inspect(path).needs == needs


def test_made_for_another_cpu(compiled_sum: Sum, tmp_path: Path) -> None:
    path = _rewritten(compiled_sum, tmp_path / "m.dsc", needs=_cpu(features=("avx2", "avx99")), target="x86:future")
    with pytest.raises(ArtifactError, match=r"x86:future and needs the CPU features avx99.*compile the model again"):
        load(path)
    assert inspect(path).needs[0].facts["features"] == ("avx2", "avx99")  # inspecting needs no such CPU


def test_made_for_another_architecture(compiled_sum: Sum, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="compiled for riscv64"):
        load(_rewritten(compiled_sum, tmp_path / "m.dsc", needs=_cpu(arch="riscv64")))


def test_made_with_another_tvm(compiled_sum: Sum, tmp_path: Path) -> None:
    path = _rewritten(compiled_sum, tmp_path / "m.dsc", versions={"apache-tvm": "0.31.2"})
    with pytest.raises(ArtifactError, match=re.escape("pip install 'apache-tvm==0.31.2'")):
        load(path)


def test_made_with_another_format(compiled_sum: Sum, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("dsc.runtime.container.FORMAT", 99)
        path = compiled_sum.write(tmp_path / "m.dsc")
    with pytest.raises(ArtifactError, match=f"format 99, this dsc reads format {FORMAT}"):
        load(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*No such file"):
        load(tmp_path / "none.dsc")


@pytest.mark.parametrize("where", ["missing/sum.dsc", "file/sum.dsc", "."])
def test_unwritable_path_is_one_clear_error(compiled_sum: Sum, tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="cannot write"):
        compiled_sum.write(tmp_path / where)
    assert sorted(tmp_path.rglob("*")) == before


def test_failing_half_way_leaves_nothing(compiled_sum: Sum, artifact: Path, tmp_path: Path) -> None:
    old = artifact.read_bytes()

    def fails() -> np.ndarray:
        raise OSError(28, "No space left on device")

    weights = [Weight("w0", "float32", (2,), fails)]
    with pytest.raises(UsageError, match="No space left"):
        write_artifact(artifact, compiled_sum.manifest, compiled_sum.library, weights)
    assert artifact.read_bytes() == old
    assert os.listdir(tmp_path) == ["sum.dsc"]


def test_permissions_follow_the_umask(artifact: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    assert artifact.stat().st_mode & 0o777 == 0o666 & ~umask
