"""Weights rounded so that layers' outputs, on samples and with inputs in bytes, are nearest to those in float."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from dsc.quantize.calibration import Feed, collect
from dsc.quantize.grid import Grid
from dsc.quantize.layers import Layer, weight_of
from dsc.quantize.matrices import Matrices
from dsc.quantize.network import Network
from dsc.quantize.quantized_layer import layer_grid
from dsc.quantize.rounding.descent import descend
from dsc.quantize.rounding.grams import GramSums
from dsc.quantize.scheme import StaticScheme

_PLACES = 512
"""Of a sample's outputs that are looked at."""
_MEMORY = 512 << 20
"""Bytes of sums that are kept at once, more or less; layers beyond that have a pass of their own over the samples."""


def round_adaptively(
    network: Network,
    layers: Sequence[Layer],
    samples: Sequence[Feed],
    grids: Mapping[str, Grid],
    scheme: StaticScheme,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """The bytes of each layer's weight, by its name.

    grids: of what the layers read. on_progress: told the layers done, and how many there are. Raises UsageError as
    `collect` does.
    """
    found: dict[str, np.ndarray] = {}
    for some in _parts([(layer, Matrices.of(network, layer)) for layer in layers]):
        sums: dict[str, list[GramSums]] = {}
        of_layer = {}
        for layer, matrices in some:
            weight = weight_of(network, layer)
            of_layer[layer.name] = GramSums(matrices, weight, grids[layer.data], _PLACES)
            sums.setdefault(layer.data, []).append(of_layer[layer.name])
        collect(network.model, samples, sums.__getitem__, list(sums))
        for layer, matrices in some:
            grid = layer_grid(network, layer, grids[layer.data], scheme)
            found[layer.name] = _rounded(weight_of(network, layer), grid, matrices, of_layer.pop(layer.name), scheme)
            if on_progress is not None:
                on_progress(len(found), len(layers))
    return found


def _rounded(weight: np.ndarray, grid: Grid, matrices: Matrices, sums: GramSums, scheme: StaticScheme) -> np.ndarray:
    channels = np.broadcast_to(grid.scale.astype(np.float64), weight.shape[matrices.layer.channels])
    gram = sums.gram(centered=scheme.corrects_bias and matrices.layer.takes_shift)
    largest = 2 ** (scheme.weight_bits - 1) - 1
    integers = descend(matrices.columns(weight), matrices.by_group(channels), gram, largest)
    return np.ascontiguousarray(matrices.weight(integers)).astype(np.int8)


def _parts(layers: Sequence[tuple[Layer, Matrices]]) -> Iterator[list[tuple[Layer, Matrices]]]:
    """The layers in groups whose sums fit in memory."""
    part: list[tuple[Layer, Matrices]] = []
    size = 0
    for layer, matrices in layers:
        needed = 8 * matrices.groups * matrices.depth * (matrices.depth + matrices.width)
        if part and size + needed > _MEMORY:
            yield part
            part, size = [], 0
        part.append((layer, matrices))
        size += needed
    if part:
        yield part
