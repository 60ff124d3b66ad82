"""--plugin: files with what the user adds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def load_plugins(files: Sequence[Path] | None) -> None:
    """Load each file. Raises UsageError for one that cannot be loaded or adds nothing."""
    if files:
        from dsc.plugins import load_plugin

        for file in files:
            load_plugin(file)
