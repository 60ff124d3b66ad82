"""Products of few rows that read the weights of an input only where it is not 0, which is found at run time."""

from dsc.targets.cpu.sparse_inputs.kernel import SparseInputs

__all__ = ["SparseInputs"]
