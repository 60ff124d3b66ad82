"""Linking: what is told where the compiler is missing, fails, is stopped, or has no room."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from dsc.errors import UsageError
from dsc.targets.arm import Arm
from dsc.targets.cpu.link import HOST, Compiler, link

OLD_GLIBC = (2, 17)
"""Of 2012, the first for 64-bit Arm: older than any system that is still in use."""


def compiler(folder: Path, script: str) -> Compiler:
    """A command in place of the C compiler."""
    path = folder / "cc"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Compiler((str(path),), "gcc libc6-dev")


@pytest.mark.parametrize(
    ("script", "said", "advice"),
    [
        (
            "echo 'ld: final link failed: No space left on device' >&2; exit 1",
            "temporary folder .* No space left",
            False,
        ),
        ("echo 'cc1: error: /tmp/x.s: Disk quota exceeded' >&2; exit 1", "temporary folder .* make room", False),
        ("echo 'p.c:18: fatal error: pthread.h: No such file or directory' >&2; exit 1", "pthread.h", True),
        ("echo '/usr/bin/ld: cannot find -lc' >&2; exit 1", "cannot find -lc", True),
        ("echo 'ld: internal error 7' >&2; exit 1", "could not link the model: ld: internal error 7", False),
        ("exit 3", "exit code 3, no message", False),
        ("kill -9 $$", "ended by signal 9", False),
        ("printf '\\377\\376' >&2; exit 1", "could not link", False),
    ],
    ids=["full", "quota", "headers", "library", "other", "silent", "killed", "bytes"],
)
def test_failures_are_told_apart(tmp_path: Path, script: str, said: str, advice: bool) -> None:
    with pytest.raises(UsageError, match=said) as failed:
        link([], tmp_path / "lib.so", compiler(tmp_path, script))
    assert ("apt-get install gcc" in str(failed.value)) == advice


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"needs a C compiler.*apt-get install gcc"):
        HOST.find()
    with pytest.raises(UsageError, match=r"needs a C compiler \(arm-gcc\).*apt-get install arm-gcc arm-libc"):
        link([], tmp_path / "lib.so", Compiler(("arm-gcc",), "arm-gcc arm-libc"))


def test_a_compiler_that_cannot_be_run(tmp_path: Path) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/none/sh\n")
    broken.chmod(0o755)
    with pytest.raises(UsageError, match="cannot be run: No such file"):
        link([], tmp_path / "lib.so", Compiler((str(broken),), "gcc"))


def test_the_compilers_scratch_is_ours(tmp_path: Path) -> None:
    """So it is gone with ours, whatever ends the process."""
    (tmp_path / "out").mkdir()
    keep = f'echo "$TMPDIR" >> {tmp_path}/said; while [ "$1" != -o ]; do shift; done; : > "$2"'
    link([], tmp_path / "out" / "lib.so", compiler(tmp_path, keep))
    compiling, linking = (tmp_path / "said").read_text().split()
    assert Path(compiling).name.startswith("dsc-")
    assert linking == str(tmp_path / "out")


@pytest.mark.parametrize("linker", [HOST, Arm.cross], ids=["host", "arm"])
def test_what_is_linked_here_runs_with_an_old_c_library(linker: Compiler, tmp_path: Path) -> None:
    library = tmp_path / "lib.so"
    link([], library, linker)
    said = subprocess.run(["readelf", "--version-info", library], capture_output=True, text=True, check=True).stdout
    wanted = {tuple(map(int, version.split("."))) for version in re.findall(r"GLIBC_([\d.]+)", said)}
    assert wanted
    assert max(wanted) <= OLD_GLIBC
