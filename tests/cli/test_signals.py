"""However a command is ended, nothing stays behind and one line says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DSC = [sys.executable, "-c", "from dsc.cli import main; main()"]
SLOW = """
import time
from dataclasses import dataclass
from pathlib import Path
from dsc.files import scratch_folder, writing
from dsc.passes import Pass
import subprocess

@dataclass(frozen=True)
class Slow(Pass):
    name = "slow"
    def apply(self, graph, record):
        with scratch_folder() as folder, writing(Path("report")) as file:
            (folder / "half.o").write_bytes(b"x")
            file.write(b"half")
            child = subprocess.Popen(["sleep", "600"])
            Path("child").write_text(str(child.pid))
            {wait}
"""
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
IN_PYTHON = "time.sleep(600)"
IN_C = "import ctypes; ctypes.CDLL(None).sleep(600)"


def start(model: Path, folder: Path, wait: str) -> subprocess.Popen[str]:
    """A compilation that waits in the middle of its work, with a scratch folder, an unfinished file and a child."""
    (folder / "slow.py").write_text(SLOW.replace("{wait}", wait))
    (folder / "tmp").mkdir()
    process = subprocess.Popen(
        [*DSC, "compile", str(model), "-o", "out.dsc", "--plugin", "slow.py", "-p", "slow"],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder / "tmp")},
        stdout=-1,
        stderr=-1,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (folder / "child").exists() or not (folder / "child").read_text():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.1)
    return process


@pytest.mark.parametrize(
    ("number", "wait", "said"),
    [
        (signal.SIGINT, IN_PYTHON, "interrupted"),
        (signal.SIGTERM, IN_PYTHON, "terminated"),
        (signal.SIGTERM, IN_C, "terminated"),
    ],
    ids=["int", "term", "term in a library"],
)
def test_in_the_middle_of_the_work(model: Path, tmp_path: Path, number: signal.Signals, wait: str, said: str) -> None:
    process = start(model, tmp_path, wait)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert (out, err) == ("", f"dsc: error: {said}\n")
    assert sorted(os.listdir(tmp_path)) == ["child", "slow.py", "tmp"]
    assert not [name for name in os.listdir(tmp_path / "tmp") if name.startswith("dsc-")]
    assert _is_gone(int((tmp_path / "child").read_text()))


def test_what_a_killed_run_left_is_removed_by_the_next(model: Path, artifact: Path, tmp_path: Path) -> None:
    process = start(model, tmp_path, IN_PYTHON)
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
    process.kill()
    process.communicate()
    left = [*tmp_path.glob(".report.*.part"), *(tmp_path / "tmp").glob("dsc-*")]
    assert len(left) == 2
    words = [*DSC, "inspect", str(artifact), "--json", "report"]
    subprocess.run(words, cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path / "tmp")}, check=True, stdout=-1)
    assert not any(path.exists() for path in left)


LISTENING = """
import dsc.cli
listen = dsc.cli.end_on_signals
dsc.cli.end_on_signals = lambda: (listen(), print("up", flush=True))
dsc.cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_from_the_first_instruction_on(model: Path, number: signal.Signals) -> None:
    """While modules load, the command line is read, and the verb works."""
    for delay in (0.0, 0.02, 0.1, 0.3, 0.6):
        command = [sys.executable, "-c", LISTENING, "compile", str(model), "--dry-run"]
        process = subprocess.Popen(command, stdout=-1, stderr=-1, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        time.sleep(delay)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (128 + number, f"dsc: error: {WORDS[number]}\n"), delay


def test_nothing_that_takes_time_comes_before_that() -> None:
    code = "import sys; before = set(sys.modules); import dsc.cli; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-S", "-c", code], env={"PYTHONPATH": "."}, check=True, stdout=-1, text=True)
    known = {"dsc", "dsc.cli", "dsc.cli.signals", "__future__", "signal", "_signal", "enum", "threading", "time"}
    light = {
        "os",
        "os.path",
        "posixpath",
        "genericpath",
        "stat",
        "_stat",
        "_collections_abc",
        "types",
        "functools",
        "collections",
        "_collections",
        "operator",
        "_operator",
        "reprlib",
        "keyword",
    }
    assert set(done.stdout.split()) <= known | light | {"itertools", "_functools", "_weakrefset", "_thread", "heapq"}


def test_what_is_ignored_stays_ignored(artifact: Path) -> None:
    """As nohup and shells do for jobs in the background."""

    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    process = subprocess.Popen([*DSC, "inspect", str(artifact)], stdout=-1, stderr=-1, preexec_fn=ignore)
    for _ in range(20):
        time.sleep(0.02)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == b""
    assert process.returncode == 0


def _is_gone(child: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        state = Path(f"/proc/{child}/stat")
        try:
            if state.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False
