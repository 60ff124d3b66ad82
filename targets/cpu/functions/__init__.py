"""How a CPU computes elementary functions."""

from dsc.targets.cpu.functions.table import FUNCTIONS, by_element

__all__ = ["FUNCTIONS", "by_element"]
