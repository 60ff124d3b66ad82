"""What a Python file defines, named on the command line."""

from __future__ import annotations

from pathlib import Path

from dsc.errors import UsageError
from dsc.files.python import run_python


def object_of(text: str) -> object:
    """What "FILE.py:NAME" names, after running the file. Raises UsageError where it is not there or cannot be run."""
    file, _, name = text.rpartition(":")
    try:
        module = run_python(Path(file), "dsc_data")
    except Exception as error:
        raise UsageError(f"{text}: {file} cannot be run: {type(error).__name__}: {error}") from error
    if module is None:
        raise UsageError(f"{text}: there is no Python file {file}")
    if not hasattr(module, name):
        public = [known for known in vars(module) if not known.startswith("_")]
        raise UsageError(f"{text}: {file} defines no {name!r}; it defines {', '.join(public) or 'nothing'}")
    return getattr(module, name)
