"""Machines from TOML files."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsc import targets
from dsc.errors import UsageError
from dsc.plugins import load_plugin
from dsc.targets import registry

PI = """
[arm.pi5]
like = "cortex-a76"
source = "the board's product brief"
frequency = 2_400_000_000
l3_bytes = 2097152
cores = 3

[x86.small]
like = "znver4"
source = "a guess"
l3_bytes = 0
dram_bandwidth = 9e9
"""


@pytest.fixture(autouse=True)
def nothing_else_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_machines", {})


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_facts_that_are_not_given_are_those_of_the_like_machine(tmp_path: Path) -> None:
    assert load_plugin(written(tmp_path, PI)) == ["arm:pi5", "x86:small"]
    mine, model = (targets.target(f"arm:{tag}").machine for tag in ("pi5", "cortex-a76"))
    assert (mine.name, mine.frequency, mine.l3_bytes, mine.cores) == ("arm:pi5", 2.4e9, 2 << 20, 3)
    assert isinstance(mine.frequency, float)
    assert mine.instructions == model.instructions
    small = targets.target("x86:small").machine
    assert (small.l3_bytes, small.dram_bandwidth) == (0, 9e9)
    assert small.features == targets.target("x86:znver4").machine.features
    assert {"arm:pi5", "x86:small"} <= set(targets.tags())
    with pytest.raises(UsageError, match="near are pi5"):
        targets.target("arm:pi4")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[arm.x]\nlike = ", "is not TOML"),
        ("", "has no machine: write a table as"),
        ('[mips.x]\nlike = "y"', r"\[mips\] is no family of targets; there are arm"),
        ("arm = 3", r"\[arm\] is no family"),
        ("[arm]\nx = 3", r"\[arm.x\] is no table"),
        ('[arm.x]\nsource = "y"', r"\[arm.x\]: like = \"TAG\" is missing"),
        ('[arm.x]\nlike = "cortex-a76"', r"source = \"...\" is missing"),
        ('[arm.x]\nlike = "cortex-a67"\nsource = "y"', "unknown target 'arm:cortex-a67': near are cortex-a76"),
        ('[arm.x]\nlike = "cortex-a76"\nsource = "y"\ncroes = 3', "croes is no fact that can be given; cores"),
        ('[arm.x]\nlike = "cortex-a76"\nsource = "y"\ncores = "3"', "cores = '3' should be int, as 4"),
        ('[arm.x]\nlike = "cortex-a76"\nsource = "y"\ncores = true', "cores = True should be int"),
        ('[arm.x]\nlike = "cortex-a76"\nsource = "y"\ncores = 2.5', "cores = 2.5 should be int"),
        ('[arm.x]\nlike = "cortex-a76"\nsource = "y"\ncores = -1', "cores = -1 should be more than 0"),
        ('[arm.x]\nlike = "cortex-a76"\nsource = "y"\nfrequency = nan', "frequency = nan should be more"),
        ('[arm.x]\nlike = "cortex-a76"\nsource = "y"\nfrequency = 0', "frequency = 0.0 should be more"),
        ('[arm.x]\nlike = "cortex-a76"\nsource = "y"\nfeatures = []', "features is no fact that can be given"),
        ('[arm.x]\nlike = "cortex-a76"\nsource = "y"\nvector_bits = 64', "vector_bits is no fact that can"),
        ('[arm.x]\nlike = "cortex-a76"\nsource = "y"\nname = "z"', "name is no fact that can"),
    ],
)
def test_what_is_wrong_is_said_and_where(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as failed:
        load_plugin(written(tmp_path, text))
    assert str(tmp_path / "mine.toml") in str(failed.value)
    assert "arm:x" not in targets.tags()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*none.toml: No such file"):
        load_plugin(tmp_path / "none.toml")


def test_of_two_machines_none_is_added_where_one_is_wrong(tmp_path: Path) -> None:
    text = PI + '\n[arm.wrong]\nlike = "cortex-a76"'
    with pytest.raises(UsageError, match=r"\[arm.wrong\]"):
        load_plugin(written(tmp_path, text))
    assert "arm:pi5" not in targets.tags()
