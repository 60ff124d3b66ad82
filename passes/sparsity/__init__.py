"""What the types of weights say of their zeros."""

from dsc.passes.sparsity.recognize import Sparsity

__all__ = ["Sparsity"]
