"""Zeros of weights, which their types tell, and what is known at run time only: inputs of 0, experts not chosen."""

from dsc.passes.sparsity.chosen_weights import ChosenWeights
from dsc.passes.sparsity.inputs import SparseInputs
from dsc.passes.sparsity.recognize import Sparsity

__all__ = ["ChosenWeights", "SparseInputs", "Sparsity"]
