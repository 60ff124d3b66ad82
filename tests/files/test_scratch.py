"""What a killed process leaves is collected by the next; what belongs to a living one, or another host, is not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dsc.errors import UsageError
from dsc.files import owned, scratch_file, scratch_folder, writing

HOLDER = """
import os, sys
from pathlib import Path
from dsc.files import scratch_folder, writing
with scratch_folder() as folder, writing(Path(sys.argv[1])) as file:
    (folder / "half.o").write_bytes(b"x")
    file.write(b"half")
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(place: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has a scratch folder in `place` and an unfinished file `place/out`."""
    environment = {**os.environ, "TMPDIR": str(place)}
    command = [sys.executable, "-c", HOLDER, str(place / "out")]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is output and temporary folder at once, seen for the first time."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(owned, "_collected", set())
    return tmp_path


def use(place: Path) -> None:
    with scratch_folder(), writing(place / "next"):
        pass


def test_the_next_run_removes_what_a_killed_one_left(place: Path) -> None:
    with holder(place) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(os.listdir(place)) == 2
        use(place)
    assert os.listdir(place) == ["next"]


def test_what_a_living_process_owns_stays(place: Path) -> None:
    with holder(place) as process:
        before = set(os.listdir(place))
        use(place)
        assert set(os.listdir(place)) == {*before, "next"}
        process.communicate("")
        assert process.returncode == 0
    assert (place / "out").read_bytes() == b"half"
    assert sorted(os.listdir(place)) == ["next", "out"]


def test_a_collector_that_is_faster_than_the_lock(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process's first look at the folder may come between making and locking: then another name is made."""
    opened: list[Path] = []
    really = os.open

    def late(path: Path, flags: int, mode: int = 0o777) -> int:
        opened.append(path)
        if len(opened) == 1:
            path.rmdir()
        return really(path, flags, mode)

    monkeypatch.setattr(owned.os, "open", late)
    with scratch_folder() as folder:
        assert folder.is_dir()
    assert len(set(opened)) == 2


def test_what_another_host_owns_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = ["dsc-01234567-89abcdef-00000000", ".out.dsc-01234567-89abcdef-00000000.part"]
    (place / left[0]).mkdir()
    (place / left[1]).write_bytes(b"half")
    use(place)
    assert sorted(os.listdir(place)) == sorted([*left, "next"])
    monkeypatch.setattr(owned, "_collected", set())
    monkeypatch.setattr(owned, "_host", lambda: "89abcdef")  # ours, before it was started again
    use(place)
    assert os.listdir(place) == ["next"]


def test_what_only_looks_alike_stays(place: Path) -> None:
    boot, host = owned._boot(), owned._host()
    names = [f"dsc-{boot}-{host}", f"mydsc-{boot}-{host}-00000000", ".out.part", f"dsc-{boot}-{host}-00000000.txt"]
    for name in names:
        (place / name).write_bytes(b"the user's")
    (place / "precious").mkdir()
    (place / f"dsc-{boot}-{host}-00000000").symlink_to("precious")
    before = set(os.listdir(place))
    use(place)
    assert set(os.listdir(place)) == {*before, "next"}


def test_names_tell_what_they_are(place: Path) -> None:
    with scratch_folder() as folder:
        assert re.fullmatch(r"dsc-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}", folder.name)
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_a_full_or_missing_temporary_folder_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"the temporary folder .*none cannot be written: No such file.*TMPDIR"):
        use(tmp_path)

    def fill(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(UsageError, match="cannot be written: No space left on device; make room"):
        scratch_file(fill)
    with pytest.raises(UsageError, match="cannot be written: No space left on device; make room"), scratch_folder():
        fill(None)
    assert not os.listdir(tmp_path)
