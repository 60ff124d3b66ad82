"""Standard input, output and error as they should be, whatever the shell made of them."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import TextIO


def open_standard_streams() -> None:
    """Open those that are closed, lest the next file that is opened takes their place; print any name."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdout = _printing(sys.stdout)
    sys.stderr = _printing(sys.stderr)


def _printing(stream: TextIO | None) -> TextIO:
    """The stream, or one that takes everything; characters that it does not have are written as escapes."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream if stream is not None else open(os.devnull, "w")
