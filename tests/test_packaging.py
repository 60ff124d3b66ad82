"""The wheel holds all of dsc under its dotted names, and works where the checkout is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"dsc": "dsc", "passes": "dsc.passes", "targets": "dsc.targets", "models": "dsc.models"}


def packages() -> set[str]:
    found = set()
    for folder, name in FOLDERS.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join((name, *parts)))
    return found


def test_every_package_is_listed() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = tomllib.load(file)["tool"]["setuptools"]["packages"]
    assert set(listed) == packages()


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that has the wheel, and the dependencies from here but not the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # what an earlier build left in the checkout does not get in
    for name in (*FOLDERS, "pyproject.toml", "README.md", "LICENSE"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, source / name)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder), str(source))
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"))
    (wheel,) = folder.glob("dsc-*.whl")
    python = folder / "venv/bin/python"
    run(sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", str(wheel))
    (site,) = (folder / "venv/lib").glob("python*/site-packages")
    # a path in a .pth is appended, and the .pth files in it (the editable install of dsc) are not read
    (site / "dependencies.pth").write_text(next(p for p in sys.path if p.endswith("site-packages")) + "\n")
    return folder


def run(*command: str, cwd: Path | None = None) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    result = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_all_of_the_wheel_imports_in_a_clean_environment(clean: Path) -> None:
    names = sorted(packages())
    code = f"import importlib; print(*[importlib.import_module(n).__file__ for n in {names}], sep='\\n')"
    places = run(str(clean / "venv/bin/python"), "-c", code, cwd=clean).split()
    assert len(places) == len(names)
    assert all(Path(place).is_relative_to(clean) for place in places)


def test_the_installed_command_compiles(clean: Path) -> None:
    command = str(clean / "venv/bin/dsc")
    assert run(command, "--version", cwd=clean).split()[-1] == "0.1.0"
    run(command, "compile", "zoo:light-squeezenet", "-o", "net.dsc", cwd=clean)
    assert "squeezenet" in run(command, "inspect", "net.dsc", cwd=clean)
