"""Runs subjects in processes of their own and names those that a process dies of."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.guards.memory import build_guard
from tests.guards.subjects import Subject
from tests.guards.worker import BEGIN, END


def outcomes(subjects: Sequence[Subject]) -> dict[str, str]:
    """What became of each subject: "ok", "refused" or what was wrong."""
    left, found = list(subjects), dict[str, str]()
    with tempfile.TemporaryDirectory() as folder:
        guard = build_guard(Path(folder))
        while left:
            done = _run(guard, left, Path(folder, "subjects"))
            found |= done
            left = left[len(done) :]
    return found


def _run(guard: Path, subjects: Sequence[Subject], file: Path) -> dict[str, str]:
    """The outcomes up to the first subject that a process dies of."""
    file.write_bytes(pickle.dumps(list(subjects)))
    environment = {**os.environ, "LD_PRELOAD": str(guard)}
    command = [sys.executable, "-m", "tests.guards.worker", str(file)]
    worker = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    found: dict[str, str] = {}
    name = subjects[0].name
    for line in worker.stdout.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == BEGIN:
            name = rest
        elif kind == END:
            found[name] = rest
    if len(found) < len(subjects):
        found[name] = f"died with {worker.returncode}: {worker.stderr.strip()[-300:]}"
    return found
