"""What the types of weights say of their zeros, and products of those that are made at run time."""

from dsc.passes.sparsity.inputs import SparseInputs
from dsc.passes.sparsity.recognize import Sparsity

__all__ = ["SparseInputs", "Sparsity"]
