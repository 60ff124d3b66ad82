"""PTX in inline assembly: parsed, and turned into C++ that calls the simulator's core."""

from __future__ import annotations

from dsc.simulator.ptx.assembly import Operand, translated

__all__ = ["Operand", "translated"]
