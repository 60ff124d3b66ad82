"""Environment variables that one thread changes while others start programs."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

from dsc import environment

NAME = "DSC_TEST_CHANGED"


def test_programs_are_started_while_a_variable_changes() -> None:
    """As compilers are while TVM is told something by a variable: one of MiniLM's kernels was not compiled, as its
    compiler could not be started ("Bad address")."""

    def change(_: int) -> None:
        with environment.changed(NAME, "x" * 5000):
            assert os.environ[NAME]

    def start(_: int) -> int:
        return subprocess.run(["true"], check=False, env=environment.copied(LC_ALL="C")).returncode

    with ThreadPoolExecutor(4) as pool:
        changes, codes = pool.map(change, range(20_000)), list(pool.map(start, range(150)))
        list(changes)
    assert codes == [0] * 150
    assert NAME not in os.environ


def test_a_value_of_before_comes_back() -> None:
    with environment.changed(NAME, "outer"):
        with environment.changed(NAME, "inner"):
            assert environment.copied(OTHER="o") == {**os.environ, "OTHER": "o"}
        assert os.environ[NAME] == "outer"
    assert NAME not in os.environ
