"""Weights with zeros for measuring: how long a kernel takes that skips them depends on where they are."""

from __future__ import annotations

import math

import numpy as np

from dsc.elements import stored, stored_dtype
from dsc.ir import SparseAttr
from dsc.lower.workload import Operand, Workload
from dsc.sparsity import Pattern, matrix_of, weight_of
from dsc.targets import Implementation
from dsc.targets.kernel import ArrayType


def sparse_arguments(
    workload: Workload, implementation: Implementation, random: np.random.Generator
) -> dict[int, np.ndarray]:
    """Arguments of an implementation, by position: those that sparse weights are packed as.

    The weights are random, with as many zeros as their types say. All other arguments may be any numbers.
    """
    found: dict[int, np.ndarray] = {}
    position = 0
    for index, operand in enumerate(workload.operands):
        packing = implementation.packings.get(index)
        if packing is None:
            position += 1
            continue
        shape = tuple(int(size) for size in operand.shape)
        count = len(packing.arrays(ArrayType(shape, stored_dtype(operand.element.dtype).name)))
        if isinstance(operand.encoding, SparseAttr):
            arrays = packing.apply(_weight(operand, shape, operand.encoding, random))
            found.update({position + number: stored(array) for number, array in enumerate(arrays)})
        position += count
    return found


def _weight(operand: Operand, shape: tuple[int, ...], encoding: SparseAttr, random: np.random.Generator) -> np.ndarray:
    """One of an operand's type, with as many blocks occupied as it may have."""
    pattern, axis = Pattern.parse(encoding.pattern.data), encoding.axis.data
    dtype = operand.element.dtype
    values = random.integers(1, 127, shape) if dtype.kind in "iu" else random.standard_normal(shape)
    matrix = matrix_of(values, axis)
    saliency = random.random(matrix.shape)
    blocks = pattern.blocks(saliency).size
    mask = pattern.keep(saliency, math.floor(encoding.density * blocks) / blocks)
    return np.ascontiguousarray(weight_of(np.where(mask, matrix, 0), axis, shape)).astype(dtype)
