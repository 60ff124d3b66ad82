"""Values of a JSON text, asked for by type: whatever is not as expected is one error that names its place."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

MAX_INTEGER = 2**63 - 1


class MalformedError(ValueError):
    """Says what was found, where, and what was expected."""


@dataclass(frozen=True)
class Value:
    """A JSON value and where it stands."""

    value: Any
    place: str

    def text(self) -> str:
        """A string that can be printed and encoded."""
        if not isinstance(self.value, str) or any("\ud800" <= char <= "\udfff" for char in self.value):
            raise self._malformed("a text")
        return self.value

    def integer(self, low: int = 0, high: int = MAX_INTEGER) -> int:
        """A whole number from `low` to `high`."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not low <= self.value <= high:
            raise self._malformed(f"a whole number from {low} to {high}")
        return self.value

    def truth(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self._malformed("true or false")
        return self.value

    def number(self) -> float:
        """A finite number."""
        is_number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if not is_number or abs(self.value) > MAX_INTEGER or not math.isfinite(self.value):
            raise self._malformed("a number")
        return float(self.value)

    def items(self) -> list[Value]:
        """The items of an array."""
        if not isinstance(self.value, list):
            raise self._malformed("an array")
        return [Value(item, f"{self.place}[{index}]") for index, item in enumerate(self.value)]

    def entries(self) -> dict[str, Value]:
        """The entries of an object, whatever their names."""
        if not isinstance(self.value, dict):
            raise self._malformed("an object")
        return {Value(name, f"a name in {self.place}").text(): Value(v, f"{self.place}.{name[:40]}")
                for name, v in self.value.items()}  # fmt: skip

    def fields(self, *names: str) -> list[Value]:
        """The entries of an object that has just these names, in this order."""
        found = self.entries()
        if missing := [name for name in names if name not in found]:
            raise MalformedError(f"{self.place} has no {missing[0]!r}")
        if unknown := sorted(set(found) - set(names)):
            raise MalformedError(f"{self.place} has {unknown[0][:40]!r}, which is unknown")
        return [found[name] for name in names]

    def _malformed(self, expected: str) -> MalformedError:
        found = json.dumps(self.value)
        found = found if len(found) <= 40 else f"{found[:37]}..."
        return MalformedError(f"{self.place} is {found}, expected {expected}")


def parse_json(text: bytes, place: str) -> Value:
    """The value of a whole JSON text. Raises `MalformedError` for anything else, NaN and infinities included."""

    def refuse(constant: str) -> None:
        raise MalformedError(f"{place} holds {constant}")

    try:
        return Value(json.loads(text.decode(), parse_constant=refuse), place)
    except MalformedError:
        raise
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{place} is no JSON: {error}") from None
