"""What a Python file defines, named on the command line."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from dsc.errors import UsageError


def object_of(text: str) -> object:
    """What "FILE.py:NAME" names, after running the file. Raises UsageError where it is not there or cannot be run."""
    file, _, name = text.rpartition(":")
    path = Path(file)
    module_name = f"dsc_data_{path.stem.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError(f"{text}: there is no Python file {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{text}: {file} cannot be run: {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        public = [known for known in vars(module) if not known.startswith("_")]
        raise UsageError(f"{text}: {file} defines no {name!r}; it defines {', '.join(public) or 'nothing'}")
    return getattr(module, name)
