"""Products of vectors by matrices that each vector chooses among several: those of a mixture's experts."""

from dsc.targets.cpu.chosen_weights.kernel import ChosenWeights

__all__ = ["ChosenWeights"]
