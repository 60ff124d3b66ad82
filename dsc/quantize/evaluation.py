"""A user's function as an evaluation: what it gives is checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from dsc.errors import DscError, UsageError

if TYPE_CHECKING:
    from dsc.quantize.session import Run


def checked(name: str, function: object) -> Callable[[Run], float]:
    """An evaluation that raises UsageError where the function fails, or gives no finite number.

    function: takes what runs a model, from inputs by name to outputs by name, and gives a number, larger is better.
    """
    if not callable(function):
        raise UsageError(f"{name} is a {type(function).__name__}, expected a function that takes what runs a model")

    def evaluate(run: Run) -> float:
        try:
            found = float(function(run))
        except DscError:
            raise
        except Exception as error:
            raise UsageError(f"{name} failed: {type(error).__name__}: {error}") from error
        if not math.isfinite(found):
            raise UsageError(f"{name} gives {found}, expected a number")
        return found

    return evaluate
