"""The tuning database: a JSON-lines file, one measurement a line, only ever appended to, whole lines at a time."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from dsc.errors import UsageError
from dsc.files import append, check_writable


@dataclass(frozen=True)
class Record:
    """One candidate of one workload, measured on one machine."""

    workload: str
    """`Workload.key()`, hashed: the structure, types and sizes, not the weights."""
    machine: str
    """What the time holds for: processor, cores and the versions of dsc and TVM."""
    kernel: str
    point: str
    """repr of the design point, which names it exactly."""
    seconds: float
    """Median of several runs on all cores."""


class Database:
    """Records by workload and machine. Without a path they live as long as the object."""

    def __init__(self, path: Path | None = None) -> None:
        """Read `path` if it exists: lines that are no records are skipped, with a warning.

        Raises `UsageError` if it cannot be read and appended to, before anything is measured.
        """
        self._path = path
        self._records: dict[tuple[str, str], dict[tuple[str, str], Record]] = {}
        if path is not None:
            _check(path)
            for record in _read(path):
                self._remember(record)

    def lookup(self, workload: str, machine: str) -> Iterable[Record]:
        """All that is known of a workload on a machine, the newest measurement of each candidate."""
        return self._records.get((workload, machine), {}).values()

    def add(self, records: Iterable[Record]) -> None:
        """Remember and append to the file, so that several processes can share it."""
        lines = ""
        for record in records:
            self._remember(record)
            lines += json.dumps(asdict(record), sort_keys=True) + "\n"
        if self._path is None or not lines:
            return
        try:
            append(self._path, lines.encode())
        except OSError as error:
            raise _unusable(self._path, error) from error

    def _remember(self, record: Record) -> None:
        found = self._records.setdefault((record.workload, record.machine), {})
        found[record.kernel, record.point] = record


def _check(path: Path) -> None:
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"the tuning database {path} is not a regular file")
        if path.exists():
            path.open("ab").close()
        else:
            check_writable(path)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"the tuning database {path} cannot be read and written: {error.strerror or error}")


def _read(path: Path) -> list[Record]:
    """The records of a file; it may have been torn by a crash, or written by something else."""
    try:
        lines = path.read_bytes().split(b"\n") if path.exists() else []
    except OSError as error:
        raise _unusable(path, error) from error
    records, broken = [], []
    for number, line in enumerate(lines, 1):
        record = _record(line)
        if record is not None:
            records.append(record)
        elif line.strip():
            broken.append(number)
    if broken:
        shown = ", ".join(map(str, broken[:5])) + (", ..." if len(broken) > 5 else "")
        print(f"dsc: warning: {path}: no tuning records in line {shown}; skipped", file=sys.stderr)
    return records


def _record(line: bytes) -> Record | None:
    try:
        fields = json.loads(line)
        record = Record(**fields)
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (record.workload, record.machine, record.kernel, record.point)
    is_time = isinstance(record.seconds, float) and math.isfinite(record.seconds) and record.seconds > 0
    return record if is_time and all(isinstance(text, str) for text in texts) else None
