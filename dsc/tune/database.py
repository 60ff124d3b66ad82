"""The tuning database: a JSON-lines file, one measurement a line, only ever appended to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from dsc.errors import UsageError


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
        """Read `path` if it exists. Raises `UsageError` naming the line that cannot be understood."""
        self._path = path
        self._records: dict[tuple[str, str], dict[tuple[str, str], Record]] = {}
        if path is not None and path.exists():
            for record in _read(path):
                self._remember(record)

    def lookup(self, workload: str, machine: str) -> Iterable[Record]:
        """All that is known of a workload on a machine, the newest measurement of each candidate."""
        return self._records.get((workload, machine), {}).values()

    def add(self, records: Iterable[Record]) -> None:
        """Remember and append to the file, in one write so that two processes can share it."""
        lines = ""
        for record in records:
            self._remember(record)
            lines += json.dumps(asdict(record), sort_keys=True) + "\n"
        if self._path is None or not lines:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(lines)
        except OSError as error:
            raise UsageError(f"the tuning database {self._path} cannot be written: {error.strerror}") from error

    def _remember(self, record: Record) -> None:
        found = self._records.setdefault((record.workload, record.machine), {})
        found[record.kernel, record.point] = record


def _read(path: Path) -> list[Record]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the tuning database {path} cannot be read: {error}") from error
    records = []
    for number, line in enumerate(lines, 1):
        try:
            fields = json.loads(line)
            records.append(Record(**{**fields, "seconds": float(fields["seconds"])}))
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(
                f"{path}:{number}: not a tuning record ({error}); delete the line or name another --db"
            ) from error
    return records
