"""Ctrl-C, SIGTERM and a closed terminal end a command in one way, from its first instruction to its last.

Nothing is unwound: an exception out of nowhere gets lost in destructors and turns into tracebacks while modules load.
All there is to undo is known by name: scratch files and child processes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "terminated"}
_GRACE = 1.0
"""Seconds after which the process is ended although its main thread is in a call of a library that does not return."""
_SHOW_CURSOR = b"\r\x1b[K\x1b[?25h"


def end_on_signals() -> None:
    """From now on these signals end the process (exit code 128 + number), unless they are ignored as under nohup."""
    for number in _WORDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def end_although_busy() -> None:
    """Do so in a thread where the main thread does not get to it."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()


def _watch(reader: int) -> None:
    while number := os.read(reader, 1)[0]:
        if number in _WORDS and signal.getsignal(number) is _end:
            time.sleep(_GRACE)
            _end(number, None)


def _end(number: int, _: FrameType | None) -> None:
    try:
        clear = _SHOW_CURSOR if os.isatty(2) else b""
        os.write(2, clear + f"dsc: error: {_WORDS[signal.Signals(number)]}\n".encode())
        _end_children()
        if files := sys.modules.get("dsc.files"):
            files.discard_all()
    finally:
        os._exit(128 + number)


def _end_children() -> None:
    """Compilers, linkers, downloads: none is of use to anybody else."""
    for thread in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/children") as file:
                children = file.read().split()
        except OSError:
            continue  # the thread has ended, or the kernel does not tell
        for child in children:
            os.kill(int(child), signal.SIGTERM)
