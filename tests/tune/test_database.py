"""The tuning database: what is written is found again, and a broken line is named."""

from __future__ import annotations

import os
import subprocess
import sys
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


GOOD = '{"kernel": "k", "machine": "m", "point": "p", "seconds": 0.5, "workload": "w"}'


@pytest.mark.parametrize(
    "line",
    [b"{", b"[]", b"null", b'{"workload": "w"}', b'{"seconds": "fast"}', b"\xff\xfe\x00", b"[" * 100_000,
     GOOD.replace("0.5", "NaN").encode(), GOOD.replace("0.5", "-1.0").encode(), GOOD.replace('"m"', "7").encode()],
    ids=range(10),
)  # fmt: skip
def test_a_broken_line_is_skipped_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: bytes
) -> None:
    path = tmp_path / "tuning.jsonl"
    Database(path).add([record()])
    with path.open("ab") as file:
        file.write(line + b"\n")
    Database(path).add([record("cpu.direct")])
    capsys.readouterr()
    assert sorted(r.kernel for r in Database(path).lookup("w", "x86:test")) == ["cpu.direct", "cpu.gemm"]
    assert "tuning.jsonl: no tuning records in line 2; skipped" in capsys.readouterr().err


def test_a_torn_last_line_is_ended_before_the_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a full disk or a crash leaves."""
    path = tmp_path / "tuning.jsonl"
    Database(path).add([record(), record("cpu.direct")])
    path.write_bytes(path.read_bytes()[:-20])
    Database(path).add([record("cpu.attention")])
    assert sorted(r.kernel for r in Database(path).lookup("w", "x86:test")) == ["cpu.attention", "cpu.gemm"]
    assert "line 2" in capsys.readouterr().err


def test_two_processes_append_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "tuning.jsonl"
    code = (
        "import sys; from pathlib import Path; from dsc.tune import Database, Record\n"
        "for i in range(200):\n"
        "    Database.add(d, [Record(sys.argv[2], 'm', 'k' * 3000, f'{i}.{j}', 1.0) for j in range(3)])"
        " if i else (d := Database(Path(sys.argv[1])))\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, path, name]) for name in ("a", "b")]
    assert [process.wait() for process in running] == [0, 0]
    found = Database(path)
    assert [len(list(found.lookup(name, "m"))) for name in ("a", "b")] == [597, 597]


def test_a_place_that_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match=r"cannot write .*there is no folder"):
        Database(tmp_path / "no such folder" / "db.jsonl")
    with pytest.raises(UsageError, match="is not a regular file"):
        Database(tmp_path / "folder")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is not a regular file"):
        Database(tmp_path / "pipe")


def test_reading_makes_no_file(tmp_path: Path) -> None:
    Database(tmp_path / "tuning.jsonl")
    assert not list(tmp_path.iterdir())
