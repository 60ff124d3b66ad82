"""Products by a constant of which two of each four neighbouring inputs are kept: instructions skip the others."""

from dsc.targets.gpu.structured.kernel import StructuredMatmul

__all__ = ["StructuredMatmul"]
