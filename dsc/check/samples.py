"""Random inputs that a model can be run on: right shapes and dtypes, integers in range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from dsc.check.indices import index_bound
from dsc.check.reference import Reference
from dsc.elements import FloatEncoding, IntegerEncoding, integer_encoding
from dsc.errors import UsageError
from dsc.ir import Graph, dims_of, element_of


@dataclass(frozen=True)
class Sizes:
    """What free dims are taken to be: the first dim, the sides of images, all others."""

    batch: int
    pixels: int
    length: int


USUAL = (Sizes(2, 224, 32), Sizes(1, 192, 17), Sizes(3, 160, 8), Sizes(1, 64, 1))
"""Samples take turns with these."""

Range = tuple[float, float]
"""The least value, and the one that is not reached any more."""


def random_inputs(
    graph: Graph,
    seed: int = 0,
    sizes: Mapping[str, int] | None = None,
    ranges: Mapping[str, Range] | None = None,
    usual: Sizes = USUAL[0],
) -> dict[str, np.ndarray]:
    """Inputs by name for an imported model, the same for the same seed.

    Floats are normal. Integers that index a table are below its number of rows; others are 0 and 1 (masks), but those
    of 8 bits take all their values (pixels). `ranges` says otherwise by input: floats are uniform then. Free dims are
    as `sizes` says by their names, else as `usual` says. Raises UsageError for inputs that are not tensors of numbers,
    and ranges that do not fit.
    """
    random, known = np.random.default_rng(seed), dict(sizes or {})
    named = dict(zip(graph.input_names, graph.inputs, strict=True))
    for name in ranges or {}:
        if name not in named:
            raise UsageError(f"a range is given for {name!r}, the model's inputs are {', '.join(named) or 'none'}")
    return {
        name: _values(name, graph, value, _shape(name, value, known, usual), random, (ranges or {}).get(name))
        for name, value in named.items()
    }


def usable_inputs(
    graph: Graph, reference: Reference, seeds: Sequence[int], ranges: Mapping[str, Range] | None = None
) -> list[dict[str, np.ndarray]]:
    """Random inputs for each seed, free dims of several sizes, such as the reference runs on.

    Not every model takes every size: there may be fewer rows in a table of positions. Raises UsageError where none of
    the usual sizes will do.
    """
    found = []
    for turn, seed in enumerate(seeds):
        tried = [USUAL[(turn + i) % len(USUAL)] for i in range(len(USUAL))] if _has_free_dims(graph) else USUAL[:1]
        found.append(_first_usable(graph, reference, seed, ranges, tried))
    return found


def _first_usable(
    graph: Graph, reference: Reference, seed: int, ranges: Mapping[str, Range] | None, tried: Sequence[Sizes]
) -> dict[str, np.ndarray]:
    refusal = None
    for usual in tried:
        inputs = random_inputs(graph, seed, None, ranges, usual)
        if len(tried) == 1:
            return inputs
        try:
            reference.run(inputs)
        except UsageError as error:
            refusal = refusal or error
        else:
            return inputs
    assert refusal is not None
    raise refusal


def _has_free_dims(graph: Graph) -> bool:
    return any(not isinstance(dim, int) or dim < 0 for value in graph.inputs for dim in dims_of(value.type) or ())


def _values(
    name: str, graph: Graph, value: SSAValue, shape: tuple[int, ...], random: np.random.Generator, given: Range | None
) -> np.ndarray:
    element = element_of(value.type)
    dtype = element.dtype
    if dtype.kind in "OUSc":
        raise UsageError(f"input {name!r} is of {dtype}: there are no random values of it, give --data")
    if dtype.kind == "b":
        return random.integers(0, 2, shape).astype(np.bool_)
    encoding = integer_encoding(dtype)
    if encoding is None:
        floats = random.standard_normal(shape) if given is None else random.uniform(*given, shape)
        has_sign = not isinstance(element.encoding, FloatEncoding) or element.encoding.signed
        return (floats if has_sign else np.abs(floats)).astype(dtype)
    low, high = given if given is not None else _integers(graph, value, encoding)
    if low < encoding.least or high - 1 > encoding.largest:
        raise UsageError(f"input {name!r}: {low:g} to {high:g} is not a range of {dtype}")
    return random.integers(math.ceil(low), math.ceil(high), shape, dtype=element.computed).astype(dtype, copy=False)


def _integers(graph: Graph, value: SSAValue, encoding: IntegerEncoding) -> Range:
    bound = index_bound(graph, value)
    if bound is not None:
        return 0, max(1, min(bound, encoding.largest + 1))
    return (encoding.least, encoding.largest + 1) if encoding.bits <= 8 else (0, 2)


def _shape(name: str, value: SSAValue, sizes: dict[str, int], usual: Sizes) -> tuple[int, ...]:
    dims = dims_of(value.type)
    if dims is None:
        raise UsageError(f"input {name!r} may have any number of dims: give its shape, e.g. --shape {name}:1x3x224x224")
    shape = []
    for axis, dim in enumerate(dims):
        if isinstance(dim, int) and dim >= 0:
            shape.append(dim)
            continue
        size = usual.batch if axis == 0 else usual.pixels if len(dims) == 4 else usual.length
        shape.append(sizes.setdefault(dim, size) if isinstance(dim, str) and dim else size)
    return tuple(shape)
