"""No module of dsc imports itself by way of others, not even within a function or for types alone."""

from __future__ import annotations

import shutil
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]


def circle(package: str, tree: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Modules of a package in `tree`, each of which imports the one before it; none if there is no circle."""
    monkeypatch.delitem(sys.modules, package, raising=False)  # grimp would take the one that is imported
    monkeypatch.syspath_prepend(tree)
    graph = grimp.build_graph(package, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_modules_import_one_another_in_one_direction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "dsc", tmp_path / "dsc", ignore=ignored)
    for part in ("passes", "targets", "models"):
        shutil.copytree(ROOT / part, tmp_path / "dsc" / part, ignore=ignored)
    assert circle("dsc", tmp_path, monkeypatch) == []


@pytest.mark.parametrize(
    "back",
    [
        "def late():\n    from circular.first import x\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import circular.first\n",
    ],
)
def test_imports_that_do_not_run_at_once_count(back: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "circular"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "first.py").write_text("import circular.second\nx = 1\n")
    (package / "second.py").write_text(back)
    assert set(circle("circular", tmp_path, monkeypatch)) == {"circular.first", "circular.second"}
