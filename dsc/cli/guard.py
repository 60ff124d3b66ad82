"""From exceptions to one message and an exit code."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from dsc.errors import DscError, UnsupportedModelError, UsageError

DEBUG = "DSC_DEBUG"
"""The environment variable that asks for tracebacks."""

_INTERNAL_ERROR, _INTERRUPTED, _PIPE_CLOSED = 1, 130, 141

_P = ParamSpec("_P")
_R = TypeVar("_R")


def guarded(verb: Callable[_P, _R]) -> Callable[_P, _R]:
    """The verb, ending the process with one message on stderr and the exit code of what it raises."""

    @functools.wraps(verb)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        stdout = sys.stdout
        try:
            result = verb(*args, **kwargs)
            sys.stdout.flush()  # now, while somebody can be told that it cannot be written
            return result
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except SystemExit:
            sys.stdout.flush()
            raise
        except MemoryError as error:
            _fail(error, _shortage(error), UnsupportedModelError.exit_code)
        except DscError as error:
            if isinstance(error.__cause__, MemoryError):
                _fail(error, _shortage(error), UnsupportedModelError.exit_code)
            _fail(error, str(error), error.exit_code)
        except KeyboardInterrupt as error:
            _fail(error, "interrupted", _INTERRUPTED)
        except BrokenPipeError as error:
            _silence()
            raise SystemExit(_PIPE_CLOSED) from error
        except OSError as error:
            where = f"{error.filename}: " if error.filename is not None else ""
            _silence()
            _fail(error, f"the system refuses: {where}{error.strerror or error}", UsageError.exit_code)
        except Exception as error:
            reason = (str(error).strip() or "no message").splitlines()[0]
            said = f"internal error: {type(error).__name__}: {reason} (set {DEBUG}=1 for the traceback)"
            _fail(error, said, _INTERNAL_ERROR)
        finally:
            sys.stdout = stdout
        raise AssertionError("every branch above returns or raises")

    return call


def _silence() -> None:
    """Whoever read our output has left: another attempt to flush it, at the end, must not raise again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _shortage(error: BaseException) -> str:
    """What to say where memory ran out, in a pass for example."""
    advice = "the model's sizes are too large for this machine: fix free dims with --shape"
    return f"not enough memory: {error}\n{advice}"


def _fail(error: BaseException, message: str, code: int) -> None:
    if os.environ.get(DEBUG, "0") not in ("", "0"):
        traceback.print_exception(error)
    print(f"dsc: error: {message}", file=sys.stderr)
    raise SystemExit(code) from None
