"""Products by weights of 4 and 8 bits whose activations become bytes, row by row."""

from __future__ import annotations

from dsc.targets.cpu.quantized_rows.kernel import QuantizedRows

__all__ = ["QuantizedRows"]
