"""The environment variables of this process, which threads change and hand to programs at the same time.

A program that is started while another thread changes a variable may get neither the old nor the new environment, but
memory that is no longer there ("Bad address"). So variables are changed, and copied for programs, one at a time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.RLock()


@contextmanager
def changed(name: str, value: str) -> Iterator[None]:
    """A variable has this value while the block lasts, which one thread at a time may run."""
    with _LOCK:
        before = os.environ.get(name)
        os.environ[name] = value
        try:
            yield
        finally:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before


def copied(**more: str) -> dict[str, str]:
    """All variables, and some more: for a program."""
    with _LOCK:
        return {**os.environ, **more}
