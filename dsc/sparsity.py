"""Where a weight has zeros: the patterns that pruners make and that kernels turn into time."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from dsc.errors import UsageError

_TEXT = re.compile(r"(?:(?P<outputs>\d+)x)?(?:(?P<depth>\d+)|(?P<most>\d+):(?P<among>\d+))")


@dataclass(frozen=True)
class Pattern:
    """Blocks of a weight that are zero, or kept, as a whole. The weight is seen as a matrix ``[outputs, depth]``.

    As text: ``unstructured`` (blocks of one element), ``4x1`` (four outputs share one input), ``2:4`` (of each four
    neighbours along the depth two are kept), ``4x2:4`` (the same, shared by four outputs). Blocks at the ends of a
    matrix that they do not divide are smaller.
    """

    outputs: int = 1
    """Of a block."""
    depth: int = 1
    """Of a block: along it lie the inputs of an output; of a convolution, all taps of a channel side by side."""
    limit: tuple[int, int] | None = None
    """(n, m): of each m blocks along the depth, n are kept."""

    @staticmethod
    def parse(text: str) -> Pattern:
        """The pattern of that name. Raises UsageError for a text that names none."""
        found = _TEXT.fullmatch(text)
        if text == "unstructured":
            return Pattern()
        if found is None or (found["depth"] and not found["outputs"]):
            raise UsageError(f"no sparsity pattern {text!r}: 'unstructured', blocks as '4x1', or '2:4' and '4x2:4'")
        sizes = {name: int(number) for name, number in found.groupdict(default="1").items()}
        if min(sizes.values()) == 0 or sizes["most"] > sizes["among"]:
            raise UsageError(f"sparsity pattern {text!r} has no such blocks")
        limit = (sizes["most"], sizes["among"]) if found["most"] else None
        return Pattern(sizes["outputs"], sizes["depth"], limit)

    def __str__(self) -> str:
        if self.limit:
            most, among = self.limit
            return f"{self.outputs}x{most}:{among}" if self.outputs > 1 else f"{most}:{among}"
        return "unstructured" if self.size == 1 else f"{self.outputs}x{self.depth}"

    @property
    def size(self) -> int:
        """Elements of a block."""
        return self.outputs * self.depth

    def blocks(self, matrix: np.ndarray) -> np.ndarray:
        """``[outputs, depth]`` to ``[blocks of outputs, blocks along the depth]``: the sum over each block."""
        tall = np.add.reduceat(matrix, np.arange(0, matrix.shape[0], self.outputs), axis=0)
        return np.add.reduceat(tall, np.arange(0, matrix.shape[1], self.depth), axis=1)

    def occupied(self, matrix: np.ndarray) -> np.ndarray:
        """Which blocks have an element that is not 0, as `blocks` arranges them."""
        return self.blocks((matrix != 0).astype(np.int32)) > 0

    def spread(self, blocks: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """The inverse of `blocks`: each element of a matrix of `shape` has the value of its block."""
        outputs, depth = shape
        return blocks.repeat(self.outputs, axis=0)[:outputs].repeat(self.depth, axis=1)[:, :depth]

    def keep(self, saliency: np.ndarray, density: float) -> np.ndarray:
        """A mask of the elements that stay: the blocks of the highest mean saliency (of equal ones, the first).

        saliency: ``[outputs, depth]``, not negative. density: of the blocks, the share that stays, to the nearest
        number of blocks; a pattern with a `limit` has its own, and takes the best of each m.
        """
        mean = self.blocks(saliency) / self.blocks(np.ones_like(saliency))
        kept = self._best(mean, round(density * mean.size)) if self.limit is None else self._best_of_each(mean)
        return self.spread(kept, (saliency.shape[0], saliency.shape[1]))

    def _best(self, blocks: np.ndarray, count: int) -> np.ndarray:
        if count == 0:
            return np.zeros(blocks.shape, dtype=bool)
        flat = blocks.reshape(-1)
        least = np.partition(flat, flat.size - count)[flat.size - count]
        kept = flat > least
        kept[np.flatnonzero(flat == least)[: count - np.count_nonzero(kept)]] = True
        return np.asarray(kept.reshape(blocks.shape))

    def _best_of_each(self, blocks: np.ndarray) -> np.ndarray:
        assert self.limit is not None
        most, among = self.limit
        rows, columns = blocks.shape
        filled = np.pad(blocks, [(0, 0), (0, -columns % among)], constant_values=-np.inf)
        groups = filled.reshape(rows, -1, among)
        kept = np.zeros(groups.shape, dtype=bool)
        np.put_along_axis(kept, np.argsort(-groups, axis=-1, kind="stable")[..., :most], True, axis=-1)
        return kept.reshape(rows, -1)[:, :columns]

    def holds(self, matrix: np.ndarray) -> bool:
        """Whether a matrix keeps the `limit`; one without has it always."""
        if self.limit is None:
            return True
        most, among = self.limit
        counted = self.occupied(matrix).astype(np.int32)
        return bool(Pattern(1, among).blocks(counted).max(initial=0) <= most)


def matrix_of(weight: np.ndarray, axis: int) -> np.ndarray:
    """A weight as ``[outputs, depth]``: `axis` is that of its outputs; a view where it can be one."""
    return np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)


def weight_of(matrix: np.ndarray, axis: int, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `matrix_of`: the weight of that shape."""
    others = [size for position, size in enumerate(shape) if position != axis]
    return np.moveaxis(matrix.reshape(shape[axis], *others), 0, axis)


def sparsity(weight: np.ndarray) -> float:
    """The share of elements that are 0."""
    return 1.0 - np.count_nonzero(weight) / max(1, math.prod(weight.shape))
