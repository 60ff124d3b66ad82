"""`dsc targets`: what can be compiled for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dsc.cli.app import app
from dsc.host import FAMILY
from dsc.targets import registry, tags
from dsc.targets.arm.machines import BY_TAG


@pytest.fixture(autouse=True)
def nothing_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_machines", {})


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["targets", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_all_machines_are_listed_and_that_of_the_host_first() -> None:
    title, first, *_ = lines = said().splitlines()
    assert title.split()[:2] == ["target", "cores"]
    assert first.startswith(f"{sorted({tag.partition(':')[0] for tag in tags()} & {FAMILY})[0]}:native (")
    assert [line.split()[0] for line in lines[2:]] == list(tags())


def test_a_family_by_any_of_its_names_with_the_peaks_of_its_rows() -> None:
    lines = said("aarch64").splitlines()
    (row,) = [line.split() for line in lines if line.startswith("arm:neoverse-v1 ")]
    machine = BY_TAG["neoverse-v1"]
    peaks = {
        element: f"{machine.peak(element) * machine.cores / 1e9:,.0f}" for element in ("float32", "bfloat16", "int8")
    }
    assert row == ["arm:neoverse-v1", "8", "2.60", *peaks.values()]
    assert not any(line.startswith("x86:") and ":native" not in line for line in lines)


def test_one_machine_with_its_sources_as_text_and_as_json(tmp_path: Path) -> None:
    text = said("arm:cortex-a53", "--json", str(tmp_path / "facts.json"))
    facts = json.loads((tmp_path / "facts.json").read_text())
    machine = BY_TAG["cortex-a53"]
    assert facts["frequency"] == machine.frequency
    assert facts["features"] == ["asimd", "fp"]
    assert [row["name"] for row in facts["instructions"]] == ["fmla", "smlal"]
    assert all(row.source in text for row in machine.instructions)


def test_machines_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[arm.mine]\nlike = "cortex-a72"\nsource = "a test"\ncores = 2\n')
    assert "arm:mine" in said("arm", "--plugin", str(path))


@pytest.mark.parametrize(
    ("name", "message"),
    [("mips", "unknown target 'mips': known families are arm"), ("arm:cortex-a67", "near are cortex-a76")],
)
def test_what_is_not_there(name: str, message: str) -> None:
    result = CliRunner().invoke(app, ["targets", name])
    assert result.exit_code == 2
    assert message in result.stderr
