"""Environment variables that one thread changes while others start programs."""

from __future__ import annotations

import ast
import os
import threading
from pathlib import Path

import dsc
from dsc import environment, targets

NAME = "DSC_TEST_CHANGED"


def test_a_copy_waits_until_no_other_thread_has_changed_a_variable() -> None:
    copies: list[dict[str, str]] = []
    other = threading.Thread(target=lambda: copies.append(environment.copied(OTHER="o")))
    with environment.changed(NAME, "x"):
        other.start()
        other.join(0.2)
        assert not copies
    other.join()
    assert copies == [{**os.environ, "OTHER": "o"}]
    assert NAME not in copies[0]


def test_a_value_of_before_comes_back() -> None:
    with environment.changed(NAME, "outer"):
        with environment.changed(NAME, "inner"):
            assert environment.copied()[NAME] == "inner"
        assert os.environ[NAME] == "outer"
    assert NAME not in os.environ


def test_every_program_gets_a_copy() -> None:
    """Threads compile kernels while TVM is told something by a variable: of MiniLM's for CUDA one was not compiled, as
    nvcc could not be started ("Bad address")."""
    started = 0
    for package in (dsc, targets):
        for path in Path(str(package.__file__)).parent.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in ("subprocess.run", "subprocess.Popen"):
                    started += 1
                    assert any(keyword.arg == "env" for keyword in node.keywords), f"{path}:{node.lineno}"
    assert started >= 5
