"""Kernels written by hand, each with sizes, arguments and what it must compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsc.simulator import Simulation

_FOLDER = Path(__file__).with_name("kernels")
Array = np.ndarray


@dataclass(frozen=True)
class Case:
    """A kernel of the file of its name, launched with arrays and sizes; the last array is its result."""

    name: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    make: Callable[[np.random.Generator], Sequence[Array]]
    """Inputs."""
    sizes: tuple[int, ...]
    reference: Callable[..., Array]
    tolerance: float
    """Relative to the largest element: sums are rounded in another order."""

    @property
    def source(self) -> str:
        return (_FOLDER / f"{self.name}.cu").read_text()

    def error(self, simulation: Simulation, source: str, seed: int = 1) -> float:
        """The largest difference from the reference, relative to its largest element; NaN counts as infinite."""
        inputs = self.make(np.random.default_rng(seed))
        expected = self.reference(*inputs)
        result = np.zeros(expected.shape, expected.dtype)
        simulation.launch(source, self.name, self.grid, self.block, *inputs, result, *self.sizes)
        difference = np.abs(result.astype(np.float64) - expected)
        return float(np.nan_to_num(difference, nan=np.inf).max() / max(np.abs(expected).max(), 1e-30))


def _floats(*shapes: tuple[int, ...]) -> Callable[[np.random.Generator], list[Array]]:
    return lambda random: [random.standard_normal(shape, np.float32) for shape in shapes]


def _halves(*shapes: tuple[int, ...]) -> Callable[[np.random.Generator], list[Array]]:
    return lambda random: [random.standard_normal(shape).astype(np.float16) for shape in shapes]


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def _scanned(x: Array) -> Array:
    return np.concatenate([np.cumsum(x[i : i + 128]) for i in range(0, len(x), 128)])


def _stencil(x: Array) -> Array:
    padded = np.pad(x, 1)
    return padded[:-2] + 2 * padded[1:-1] + padded[2:]


def _wide(a: Array) -> Array:
    return a.astype(np.float32)


CASES = (
    Case("reduce", (3,), (128,), _floats((3, 301)), (301,), lambda x: x.sum(1), 1e-5),
    Case("tree", (3,), (64,), _floats((3, 97)), (97,), lambda x: x.max(1), 0.0),
    Case("transpose", (2, 2), (32, 8), _floats((45, 39)), (45, 39), lambda x: np.ascontiguousarray(x.T), 0.0),
    Case("matmul", (3, 2), (16, 16), _floats((19, 37), (37, 35)), (19, 35, 37), lambda a, b: a @ b, 1e-5),
    Case("pipeline", (2,), (128,), _floats((64, 80), (80, 64)), (80,), lambda a, b: a @ b, 1e-5),
    Case("tensor", (1,), (64,), _halves((32, 48), (16, 48)), (48,), lambda a, b: _wide(a) @ _wide(b).T, 1e-5),
    Case("softmax", (3,), (64,), _floats((5, 77)), (5, 77), _softmax, 1e-6),
    Case("scan", (2,), (128,), _floats((205,)), (205,), _scanned, 1e-5),
    Case(
        "histogram",
        (3,),
        (128,),
        lambda random: [random.integers(0, 256, 1001, np.uint8)],
        (1001,),
        lambda x: np.bincount(x, minlength=256).astype(np.int32),
        0.0,
    ),
    Case("stencil", (3,), (64,), _floats((150,)), (150,), _stencil, 1e-6),
    Case("rows", (1,), (96,), _floats((7, 64)), (7,), lambda x: np.ascontiguousarray(x[:, ::-1]), 0.0),
    Case("fragments", (1,), (64,), _halves((16, 48), (48, 32)), (48,), lambda a, b: _wide(a) @ _wide(b), 1e-5),
)
BY_NAME = {case.name: case for case in CASES}
