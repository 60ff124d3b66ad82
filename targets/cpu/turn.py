"""Transposing squares of elements in registers."""

from __future__ import annotations

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T


def turned(vectors: list[Expr]) -> list[Expr]:
    """The transposed square of `vectors`: blocks beside the diagonal change places, of half the size, a quarter, ..."""
    lanes = len(vectors)
    step = lanes // 2
    while step:
        turned = list(vectors)
        for i in (i for i in range(lanes) if not i & step):
            pair = [vectors[i], vectors[i + step]]
            low = [k if not k & step else lanes + k - step for k in range(lanes)]
            high = [k + step if not k & step else lanes + k for k in range(lanes)]
            turned[i] = T.Bind(tirx.Shuffle(pair, [tirx.const(k, "int32") for k in low]))
            turned[i + step] = T.Bind(tirx.Shuffle(pair, [tirx.const(k, "int32") for k in high]))
        vectors = turned
        step //= 2
    return vectors
