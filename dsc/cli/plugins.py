"""--plugin: Python files with passes of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def load_plugins(files: Sequence[Path] | None) -> None:
    """Register the passes of each file. Raises UsageError for one that cannot be loaded or defines none."""
    if files:
        from dsc.passes import load_plugin

        for file in files:
            load_plugin(file)
