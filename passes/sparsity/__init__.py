"""Zeros of weights, which their types tell, and what is known at run time only: inputs of 0, experts not chosen.
And, where it is asked for, attention that leaves out what lies far from a query."""

from dsc.passes.sparsity.attention import SparsifyAttention
from dsc.passes.sparsity.chosen_weights import ChosenWeights
from dsc.passes.sparsity.inputs import SparseInputs
from dsc.passes.sparsity.recognize import Sparsity

__all__ = ["ChosenWeights", "SparseInputs", "SparsifyAttention", "Sparsity"]
