"""The matrices of Winograd's minimal filtering F(m x m, 3 x 3), and transforms written out as vector arithmetic.

Y = A^T [ (G g G^T) * (B^T d B) ] A for an m x m tile Y of the result, the kernel g and an (m+2) x (m+2) patch d
(Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015). The matrices follow from polynomial
interpolation at m + 1 finite points and infinity (Toom-Cook).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import prod

import numpy as np
from tvm import tirx
from tvm.ir import Expr

from dsc.elements import BY_DTYPE_NAME, stored
from dsc.lower.exprs import ceildiv
from dsc.targets.cpu.gemm.product import in_memory
from dsc.targets.kernel import ArrayType
from dsc.targets.tir.loops import Vectors, spread

TAPS = 3
"""Rows and columns of the kernels that are handled."""

Matrix = tuple[tuple[Fraction, ...], ...]

_POINTS = {
    2: (Fraction(0), Fraction(1), Fraction(-1)),
    # The textbook's 0, 1, -1, 2, -2 has four times the rounding error at 256 channels: 9.5e-6 of the greatest
    # output against 2.4e-6 for these, whose powers vary less. All constants stay exact in binary but G's.
    4: (Fraction(0), Fraction(3, 4), Fraction(-3, 4), Fraction(3, 2), Fraction(-3, 2)),
}


@dataclass(frozen=True)
class Transform:
    """The matrices of F(m x m, 3 x 3)."""

    inverse: Matrix
    """A^T, m by m + 2."""
    weight: Matrix
    """G, m + 2 by 3."""
    data: Matrix
    """B^T, m + 2 by m + 2."""

    @property
    def outputs(self) -> int:
        """m: rows and columns of a tile of the result."""
        return len(self.inverse)

    @property
    def patch(self) -> int:
        """m + 2: rows and columns of the patch under a tile."""
        return len(self.data)


@cache
def transform(outputs: int) -> Transform:
    """F(outputs x outputs, 3 x 3), for 2 and 4."""
    points = _POINTS[outputs]
    finite = len(points)
    inverse = [[point**i for point in points] + [Fraction(i == outputs - 1)] for i in range(outputs)]
    weight, data = [], []
    for j, point in enumerate(points):
        others = [other for k, other in enumerate(points) if k != j]
        scale = prod((point - other for other in others), start=Fraction(1))
        weight.append([point**k / scale for k in range(TAPS)])
        data.append([*_polynomial(others), Fraction(0)])
    weight.append([Fraction(0)] * (TAPS - 1) + [Fraction(1)])
    data.append(_polynomial(points))
    assert len(data) == finite + 1
    return Transform(_frozen(inverse), _frozen(weight), _frozen(data))


def _frozen(rows: Sequence[Sequence[Fraction]]) -> Matrix:
    return tuple(tuple(row) for row in rows)


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients, lowest first, of the monic polynomial with these roots."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        scaled = [root * c for c in coefficients] + [Fraction(0)]
        coefficients = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return coefficients


@dataclass(frozen=True)
class PackWinograd:
    """[OC, IC, 3, 3] to [panels, positions, IC/inner, inner/k, panel*k] of transformed kernels, channels zero-filled.

    Of each output channel, `k` channels of the input lie side by side, as `PackWeights` has them.
    """

    outputs: int
    panel: int
    inner: int
    k: int = 1
    dtype: str = "float32"
    """As which they are multiplied: transformed kernels are rounded to it."""

    def shape(self, oc: int, ic: int) -> tuple[int, ...]:
        """The packed shape for so many channels."""
        positions = (self.outputs + TAPS - 1) ** 2
        return ceildiv(oc, self.panel), positions, ic // self.inner, self.inner // self.k, self.panel * self.k

    def arrays(self, weight: ArrayType) -> tuple[ArrayType]:
        """One."""
        oc, ic, _, _ = weight.shape
        return (ArrayType(self.shape(oc, ic), in_memory(self.dtype)),)

    def apply(self, array: np.ndarray) -> tuple[np.ndarray]:
        """The packed copy; transformed in double precision, panel by panel to keep the peak of memory low."""
        oc, ic, _, _ = array.shape
        shape = self.shape(oc, ic)
        g = np.array(transform(self.outputs).weight, np.float64)
        packed = np.zeros((*shape[:4], self.panel, self.k), in_memory(self.dtype))
        for panel in range(shape[0]):
            part = array[panel * self.panel : (panel + 1) * self.panel].astype(np.float64)
            positions = (g @ part @ g.T).reshape(len(part), *shape[2:4], self.k, shape[1])
            rounded = stored(positions.astype(np.float32).astype(BY_DTYPE_NAME[self.dtype].dtype))
            packed[panel, ..., : len(part), :] = rounded.transpose(4, 1, 2, 0, 3)
        return (packed.reshape(shape),)


Store = Callable[[int, Expr], None]
"""Writes one element of a transformed vector."""


def inverse(matrix: Matrix, inputs: Sequence[Expr], store: Store, lanes: int) -> None:
    """``store(i, sum_j matrix[i][j] * inputs[j])`` for every row of A^T.

    The columns of points +a and -a differ in the sign of odd powers only: their inputs are added and subtracted once.
    """
    pairs = range(1, len(inputs) - 1, 2)
    sums, differences = Vectors(len(pairs), lanes), Vectors(len(pairs), lanes)
    for k, j in enumerate(pairs):
        sums.put(k, inputs[j] + inputs[j + 1])
        differences.put(k, inputs[j] - inputs[j + 1])
    for i, row in enumerate(matrix):
        half = differences if i % 2 else sums
        terms = [
            (row[0], inputs[0]),
            (row[-1], inputs[-1]),
            *((row[j], half[k]) for k, j in enumerate(pairs)),
        ]
        store(i, _combination(terms, lanes))


def forward(matrix: Matrix, inputs: Sequence[Expr], store: Store, lanes: int) -> None:
    """``store(i, sum_j matrix[i][j] * inputs[j])`` for every row of B^T.

    The rows of +a and -a have their even and odd parts computed once, then added and subtracted.
    """
    last = len(matrix) - 1
    halves = Vectors(last - 1, lanes)
    for i in range(1, last, 2):
        rows = [matrix[i], matrix[i + 1]]
        even = [((a + b) / 2, x) for a, b, x in zip(*rows, inputs, strict=True)]
        odd = [((a - b) / 2, x) for a, b, x in zip(*rows, inputs, strict=True)]
        halves.put(i - 1, _combination(even, lanes))
        halves.put(i, _combination(odd, lanes))
        store(i, halves[i - 1] + halves[i])
        store(i + 1, halves[i - 1] - halves[i])
    for i in (0, last):
        store(i, _combination(list(zip(matrix[i], inputs, strict=True)), lanes))


def _combination(terms: Sequence[tuple[Fraction, Expr]], lanes: int) -> Expr:
    """The sum of the terms whose factor is not zero, those with factor 1 first."""
    total: Expr | None = None
    for factor, value in sorted(terms, key=lambda term: term[0] != 1):
        if factor == 0:
            continue
        scaled = value if factor == 1 else value * spread(tirx.const(float(factor), "float32"), lanes)
        total = scaled if total is None else total + scaled
    assert total is not None
    return total
