"""How a CPU computes elementary functions."""

from dsc.targets.cpu.functions.table import FUNCTIONS

__all__ = ["FUNCTIONS"]
