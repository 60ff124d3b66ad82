"""quantize_weights: a model with its weights as small integers, and what that changes in each layer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, get_args

import numpy as np
import onnx as onnx_package

from dsc.errors import UsageError
from dsc.exchange import ModelSource, export_model, import_model
from dsc.ir import Graph, onnx
from dsc.quantize.weights.contrib import as_contrib, refuse_group
from dsc.quantize.weights.gptq import Fit, gptq
from dsc.quantize.weights.grid import WIDTHS, Grid, Rounded, collected, groups_of
from dsc.quantize.weights.half_quadratic import half_quadratic
from dsc.quantize.weights.hessian import Samples, hessians
from dsc.quantize.weights.layers import Layer, layers_of
from dsc.quantize.weights.nearest import extremes

Method = Literal["nearest", "hqq", "gptq"]
"""How weights are rounded: to the nearest integer, half-quadratically, or by GPTQ, which needs data."""
Form = Literal["onnx", "contrib"]
"""What is written: DequantizeLinear in blocks, or ONNX Runtime's MatMulNBits and GatherBlockQuantized."""


@dataclass(frozen=True)
class LayerError:
    """What rounding changed in one layer."""

    name: str
    shape: tuple[int, int]
    """Of the weight: depth, outputs. A table has rows for outputs."""
    error: float
    """Of the layer's outputs on the data, or of the weight without data and for tables: norm of the difference by
    norm."""
    of_outputs: bool


@dataclass(frozen=True)
class QuantizedWeights:
    """A model whose weights are small integers."""

    model: onnx_package.ModelProto
    layers: tuple[LayerError, ...]
    """Those that were quantized, the worst first."""


def quantize_weights(
    source: ModelSource,
    *,
    bits: int = 4,
    group: int = 32,
    method: Method = "hqq",
    data: Samples | None = None,
    symmetric: bool = False,
    form: Form = "onnx",
    keep: Collection[str] = (),
) -> QuantizedWeights:
    """The model with weights of MatMul and Gemm, and tables of Gather, as integers of `bits` bits (4 or 8).

    group: how many elements along the depth share a scale; 0 for all of them. symmetric: no zero points.
    data: inputs of runs, by name, read once; GPTQ needs them, and the errors of layers are then those of outputs.
    keep: names of layers that stay float.
    Raises UsageError for options that make no sense, unknown names, weights or data that are infinite or NaN, and a
    model without such layers.
    """
    _check(bits, group, method, data, form)
    graph = import_model(source)
    layers = _chosen(layers_of(graph), keep)
    known = {} if data is None else hessians(graph, layers, data)
    grid = Grid(bits, symmetric)
    errors = []
    for layer in layers:
        products = [known[value] for value in layer.inputs if value in known]
        hessian = np.sum(products, axis=0) if products else None
        weight = _weight(graph, layer)
        rounded = _rounded(weight, hessian, grid, min(group, len(weight)) or len(weight), method)
        errors.append(_error(layer, weight, rounded, hessian))
        _replace(graph, layer, rounded)
    model = export_model(graph)
    worst = tuple(sorted(errors, key=lambda each: -each.error))
    return QuantizedWeights(as_contrib(model) if form == "contrib" else model, worst)


def _check(bits: int, group: int, method: str, data: Samples | None, form: str) -> None:
    if bits not in WIDTHS:
        raise UsageError(f"weights of {bits} bits are not supported: {' and '.join(map(str, WIDTHS))} are")
    if group < 0 or (group and group % 8):
        raise UsageError(f"groups of {group} are not supported: a multiple of 8, or 0 for the whole depth")
    if method not in get_args(Method):
        raise UsageError(f"there is no method {method!r}: there are {', '.join(get_args(Method))}")
    if form not in get_args(Form):
        raise UsageError(f"there is no form {form!r}: there are {', '.join(get_args(Form))}")
    if method == "gptq" and data is None:
        raise UsageError("gptq needs calibration data")
    if form == "contrib":
        refuse_group(group)


def _chosen(layers: Sequence[Layer], keep: Collection[str]) -> list[Layer]:
    names = [layer.name for layer in layers]
    for name in keep:
        if name not in names:
            near = get_close_matches(name, names) or names[:5]
            raise UsageError(f"no layer with a weight is named {name!r}; there are {', '.join(near)}")
    chosen = [layer for layer in layers if layer.name not in keep]
    if not chosen:
        raise UsageError("the model has no MatMul, Gemm or Gather of a constant float32 matrix to quantize")
    return chosen


def _weight(graph: Graph, layer: Layer) -> np.ndarray:
    """With the depth first."""
    array = graph.weights.get(layer.weight.weight)
    if not np.isfinite(array).all():
        raise UsageError(f"the weight of {layer.name} is infinite or NaN somewhere")
    return array if layer.depth == 0 else array.T


def _rounded(weight: np.ndarray, hessian: np.ndarray | None, grid: Grid, size: int, method: Method) -> Rounded:
    fit: Fit = extremes if method == "nearest" else half_quadratic
    if method == "gptq" and hessian is not None:
        return gptq(weight, hessian, grid, size, fit)
    integers = np.empty(weight.shape)
    scales, zeros = [], []
    for rows in groups_of(len(weight), size):
        values = weight[rows].astype(np.float64)
        scale, zero = fit(values, grid)
        integers[rows] = grid.nearest(values, scale, zero)
        scales.append(scale)
        zeros.append(zero)
    return collected(grid, integers, np.stack(scales), np.stack(zeros), size)


def _error(layer: Layer, weight: np.ndarray, rounded: Rounded, hessian: np.ndarray | None) -> LayerError:
    """With X^T X, the norms of X D and X W are known without running the layer again."""
    shape = (weight.shape[0], weight.shape[1])
    change = rounded.floats().astype(np.float64) - weight
    squares = [float(np.sum(each * (each if hessian is None else hessian @ each))) for each in (change, weight)]
    moved, whole = (np.sqrt(max(square, 0.0)) for square in squares)
    return LayerError(layer.name, shape, float(moved / whole) if whole else 0.0, hessian is not None)


def _replace(graph: Graph, layer: Layer, rounded: Rounded) -> None:
    """Dequantized integers in place of the weight."""
    parts = [rounded.integers, rounded.scales, *([] if rounded.zeros is None else [rounded.zeros])]
    turned = [part if layer.depth == 0 else np.ascontiguousarray(part.T) for part in parts]
    name = layer.weight.weight
    suffixes = ("integers", "scales", "zero_points")
    constants = [graph.make_constant(part, f"{name}.{suffix}") for part, suffix in zip(turned, suffixes, strict=False)]
    made = onnx.DequantizeLinear.make(
        *(constant.results[0] for constant in constants), axis=layer.depth, block_size=rounded.size, node=name
    )
    graph.body.insert_ops_after([*constants, made], layer.weight)
    layer.weight.out.replace_all_uses_with(made.results[0])
    graph.body.erase_op(layer.weight)
