"""Instructions that look bytes up in registers, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ByteTable:
    """How a machine looks up a vector of bytes in a table of 256 that is in registers."""

    form: Literal["vpermi2b", "tbl"]
    """x86's of two registers of 64 bytes, or Arm's of four of 16."""
    lanes: int
    """Bytes of a vector, of those that are looked up and of the table."""
    cycles: float
    """Of one vector: several instructions, as each has a part of the table."""
    source: str
