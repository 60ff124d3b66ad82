"""Python files of users', run as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def run_python(path: Path, prefix: str) -> ModuleType | None:
    """The module of a file, under a name that begins with `prefix`; None where it is no Python file.

    Raises whatever the file raises.
    """
    name = f"{prefix}_{path.stem.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        return None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
