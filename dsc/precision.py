"""The precisions that a model may be compiled for: the names that users give, and what they mean."""

from __future__ import annotations

PRECISIONS: dict[str, str | None] = {"fp32": None, "tf32": "tfloat32", "bf16": "bfloat16", "fp16": "float16"}
"""By name, the element type to which factors of products are rounded, and, of the halves, that tensors are stored in;
None where nothing is rounded. It is the `type` of the pass `precision`."""

ACTIVATIONS = ("fp32", "int16", "int8")
"""What activations may be rounded to, row by row, where weights of few bits multiply them; the first rounds nothing. It
is the `type` of the pass `quantize-rows`."""

ERRORS: dict[str, float] = {"tfloat32": 1e-2, "float16": 1e-2, "bfloat16": 4e-2, "int16": 1e-3, "int8": 2e-1}
"""By that element type, how far an output may be off, relative to its largest number.

A rounding is 2^-12 of a number (bfloat16: 2^-9), and some hundred of them, one after the other, add up to 20 to 40
times as much where they do not cancel. An activation of int8 or int16 is off by 2^-8 or 2^-16 of the largest in its
group. Networks of the zoo stay below a quarter of these bounds.
"""
