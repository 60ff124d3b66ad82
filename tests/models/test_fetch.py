"""Fetching: whole files, checked hashes, one writer, clear words when it cannot be done."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dsc.errors import UsageError
from dsc.files.cache import made_once
from dsc.models import cache_dir, packages
from dsc.models.packages import Package, unpacked


def test_cache_dir_prefers_argument_then_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSC_CACHE", str(tmp_path / "from-env"))
    assert cache_dir() == tmp_path / "from-env"
    assert cache_dir(tmp_path / "given") == tmp_path / "given"


def test_cache_dir_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="cannot be made"):
        cache_dir(tmp_path / "file" / "cache")


def test_made_once_leaves_nothing_after_a_failure(tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"

    def fail() -> None:
        with made_once(target) as aside:
            assert aside is not None
            aside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx.lock"}


def test_made_once_makes_once(tmp_path: Path) -> None:
    made = []

    def make(_: int) -> str:
        with made_once(tmp_path / "file") as aside:
            if aside is not None:
                made.append(1)
                aside.write_text("whole")
        return (tmp_path / "file").read_text()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(make, range(16))) == {"whole"}
    assert len(made) == 1


def test_what_a_killed_process_began_is_made_again(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from dsc.files.cache import made_once\n"
        "with made_once(Path(sys.argv[1])) as aside:\n"
        "    aside.write_text('half'); print('ready', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "file"], stdout=-1) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
    assert len(list(tmp_path.iterdir())) == 2
    with made_once(tmp_path / "file") as aside:
        assert aside is not None
        aside.write_text("whole")
    assert (tmp_path / "file").read_text() == "whole"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "file.lock"}


def test_a_cache_that_fills_up_is_one_message(tmp_path: Path) -> None:
    def fill() -> None:
        with made_once(tmp_path / "file"):
            raise OSError(28, "No space left on device")

    with pytest.raises(UsageError, match=r"file cannot be made \(No space left on device\); set DSC_CACHE"):
        fill()
    assert not (tmp_path / "file").exists()
    (tmp_path / "in the way").write_text("")
    with pytest.raises(UsageError, match="set DSC_CACHE"), made_once(tmp_path / "in the way" / "file"):
        pass


def test_the_cache_is_found_after_a_change_of_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cache_dir("cache") == tmp_path / "cache"


def test_without_a_home_the_cache_must_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "DSC_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for a user the system does not know
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="set DSC_CACHE"):
        cache_dir()
    assert not list(tmp_path.iterdir())


def test_wrong_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(package: Package, folder: Path) -> Path:
        file = folder / "thing-1.0-py3-none-any.whl"
        file.write_bytes(b"something else")
        return file

    monkeypatch.setattr(packages, "_download", serve)
    with pytest.raises(UsageError, match="is not the file the recipe names: its sha256 is "):
        unpacked(Package("thing", "1.0", "0" * 64), tmp_path)
    assert not (tmp_path / "packages" / "thing-1.0").exists()


def test_offline_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(UsageError, match=r"no-such-package-of-dsc 1\.0 \(PyPI\) cannot be downloaded: ERROR: .*online"):
        unpacked(Package("no-such-package-of-dsc", "1.0", "0" * 64), tmp_path)


def test_debian_without_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"dataset \(Debian\) cannot be downloaded|data 1 \(Debian\) cannot"):
        unpacked(Package("data", "1", "0" * 64, kind="debian"), tmp_path)


def test_import_is_light() -> None:
    """Naming models must not import what only building them needs."""
    code = "import sys, dsc.models; sys.exit('sklearn' in sys.modules or 'onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
