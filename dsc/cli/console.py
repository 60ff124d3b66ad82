"""What people see: tables on stdout, progress bars on stderr (none where stderr is not a terminal)."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from dsc.files import writing

Tell: TypeAlias = Callable[[str, int, int], None]
"""Takes a phase, the steps done and how many there are."""

_NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?x?")
_WIDE = 200  # columns where output is not a terminal: tables are read by programs, and not cut


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """Print a table; columns of numbers are set to the right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        numbers = bool(rows) and all(_NUMBER.fullmatch(row[index]) for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # as it stands: brackets are no markup here
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


@contextmanager
def progress() -> Iterator[Tell]:
    """A bar for each phase that is told of, gone when the block ends."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=total)
            bars.update(tasks[phase], completed=done, total=total)

        yield tell


def write_json(path: Path | None, content: object) -> None:
    """Write a report, whole or not at all; nothing where `path` is None. Raises UsageError if it fails."""
    if path is None:
        return
    with writing(path) as file:
        file.write(json.dumps(content, indent=1, default=str).encode() + b"\n")
