"""Transposing squares of elements in registers."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T


def turned(vectors: Sequence[Expr]) -> list[Expr]:
    """The transposed square of `vectors`, as many as their lanes, in variables of the open frame.

    Blocks beside the diagonal change places, of half the size, a quarter, ...
    """
    lanes = len(vectors)
    step = lanes // 2
    result = list(vectors)
    while step:
        for i in (i for i in range(lanes) if not i & step):
            pair = [result[i], result[i + step]]
            low = [k if not k & step else lanes + k - step for k in range(lanes)]
            high = [k + step if not k & step else lanes + k for k in range(lanes)]
            result[i] = T.Bind(tirx.Shuffle(pair, [tirx.const(k, "int32") for k in low]))
            result[i + step] = T.Bind(tirx.Shuffle(pair, [tirx.const(k, "int32") for k in high]))
        step //= 2
    return result
