"""The tuning database: what is written is found again, and a broken line is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsc.errors import UsageError
from dsc.tune import Database, Record


def record(kernel: str = "cpu.gemm", seconds: float = 1e-3, workload: str = "w") -> Record:
    return Record(workload, "x86:test", kernel, "Tiling(rows=4)", seconds)


def test_records_are_found_by_workload_and_machine(tmp_path: Path) -> None:
    path = tmp_path / "tuning.jsonl"
    Database(path).add([record(), record("cpu.direct", 2e-3), record(workload="other")])
    found = Database(path)
    assert sorted(r.kernel for r in found.lookup("w", "x86:test")) == ["cpu.direct", "cpu.gemm"]
    assert list(found.lookup("w", "another machine")) == []


def test_the_newest_measurement_counts(tmp_path: Path) -> None:
    path = tmp_path / "tuning.jsonl"
    Database(path).add([record(seconds=1.0)])
    Database(path).add([record(seconds=0.5)])
    assert [r.seconds for r in Database(path).lookup("w", "x86:test")] == [0.5]
    assert len(path.read_text().splitlines()) == 2  # only ever appended to


def test_without_a_path_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database()
    database.add([record()])
    assert [r.kernel for r in database.lookup("w", "x86:test")] == ["cpu.gemm"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("line", ["{", "[]", '{"workload": "w"}', '{"seconds": "fast"}'])
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "tuning.jsonl"
    Database(path).add([record()])
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(UsageError, match=r"tuning\.jsonl:2: not a tuning record"):
        Database(path)


def test_a_place_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        Database(tmp_path / "no such folder" / "db.jsonl").add([record()])
