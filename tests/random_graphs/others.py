"""Operators met less often: quantized ones, sampling, windows, and those of newer models."""

from __future__ import annotations

import numpy as np

from tests.random_graphs.arrays import BOOL, is_float, random_array
from tests.random_graphs.evaluate import Rejected
from tests.random_graphs.graph import Noise, RandomGraph, Value

N, S, F = Noise.NONE, Noise.SUM, Noise.FUNCTION
BYTES = (np.dtype(np.uint8), np.dtype(np.int8))


def quantize(g: RandomGraph) -> None:
    """To bytes, and back most of the time; by tensor or by channel."""
    value = g.pick(lambda v: v.dtype == np.float32 and v.rank > 0)
    if any(np.isnan(a).any() for a in value.exact):
        raise Rejected  # undefined
    kind = BYTES[int(g.rng.integers(2))]
    axis = int(g.rng.integers(0, value.rank))
    shape = [] if g.rng.random() < 0.6 or not value.dims[axis] else [int(value.dims[axis] or 1)]
    scale = g.constant(g.rng.uniform(0.02, 0.3, shape).astype(np.float32))
    zero = g.constant(g.rng.integers(0, 20, shape).astype(kind))
    attributes = {"axis": axis} if shape else {}
    small = g.one("QuantizeLinear", [value, scale, zero], N, **attributes)
    if g.rng.random() < 0.8:
        g.add("DequantizeLinear", [small, scale, zero], N, **attributes)


def dynamic_quantize(g: RandomGraph) -> None:
    value = g.pick(lambda v: v.dtype == np.float32 and v.finite and all(a.size for a in v.exact))
    if any(0 < np.abs(a).max() < 1e-30 for a in value.exact):
        raise Rejected  # the scale is 0: undefined
    g.add("DynamicQuantizeLinear", [value], Noise.RESULT, outputs=3)


def integer_product(g: RandomGraph) -> None:
    """MatMulInteger and ConvInteger, with zero points."""
    value = g.pick(
        lambda v: v.dtype in BYTES and v.rank in (2, 3, 4) and v.dims[-1] is not None, lambda: g.image(np.uint8)
    )
    kind = BYTES[int(g.rng.integers(2))]
    zero = [g.constant(np.array(3, t)) for t in (value.dtype, kind)][: int(g.rng.integers(0, 3))]
    if value.rank == 4 and value.dims[1]:
        weight = g.constant(random_array(g.rng, kind, [4, value.dims[1], 1, 3]))
        g.add("ConvInteger", [value, weight, *zero], N, pads=[0, 1, 0, 1])
    else:
        g.add("MatMulInteger", [value, g.constant(random_array(g.rng, kind, [int(value.dims[-1] or 0), 6])), *zero], N)


def bits(g: RandomGraph) -> None:
    """Shifts by less than the width."""
    value = g.pick(lambda v: v.dtype.kind == "u" and v.rank > 0 and v.static, lambda: g.matrix(np.uint32))
    by = g.constant(g.rng.integers(0, 8, [int(value.dims[-1] or 0)]).astype(value.dtype))
    g.add("BitShift", [value, by], N, direction=str(g.rng.choice(["LEFT", "RIGHT"])))


def sample_grid(g: RandomGraph) -> None:
    value = g.pick(lambda v: v.rank == 4 and v.dtype == np.float32 and v.static and 0 not in v.dims, g.image)
    grid = g.constant(g.rng.uniform(-1.3, 1.3, [int(value.dims[0] or 1), 3, 4, 2]).astype(np.float32))
    mode = str(g.rng.choice(["linear", "nearest", "cubic"]))
    padding = str(g.rng.choice(["zeros", "border", "reflection"]))
    g.add(
        "GridSample",
        [value, grid],
        Noise.SUM_LESS_SUM,
        mode=mode,
        padding_mode=padding,
        align_corners=int(g.rng.integers(0, 2)),
    )


def group_norm(g: RandomGraph) -> None:
    value = g.pick(lambda v: v.rank in (3, 4) and v.dtype == np.float32 and v.dims[1] in (4, 8, 12, 16), g.image)
    channels = int(value.dims[1] or 4)
    scales = [g.random(value.dtype, [channels]) for _ in "ab"]
    g.add(
        "GroupNormalization",
        [value, *scales],
        Noise.SUM_LESS_SUM,
        num_groups=int(g.rng.choice([1, 2, 4])),
        epsilon=1e-2,
    )


def statistics(g: RandomGraph) -> None:
    """MeanVarianceNormalization, GlobalLpPool and Det."""
    op = str(g.rng.choice(["MeanVarianceNormalization", "GlobalLpPool", "Det"]))
    if op == "Det":
        value = g.pick(
            lambda v: v.rank > 1 and v.dtype == np.float32 and v.dims[-1] == v.dims[-2] and v.dims[-1] in (1, 2, 3)
        )
    else:
        value = g.pick(lambda v: v.rank == 4 and v.dtype == np.float32, g.image)
    g.add(op, [value], S)


def unpool(g: RandomGraph) -> None:
    value = g.pick(
        lambda v: v.rank == 4 and v.dtype == np.float32 and all(s[2] > 1 and s[3] > 1 for s in v.sizes), g.image
    )
    if any(np.isnan(a).any() for a in value.exact):
        raise Rejected  # as for pools
    pooled, places = g.add("MaxPool", [value], N, outputs=2, kernel_shape=[2, 2], strides=[2, 2])
    g.add("MaxUnpool", [pooled, places], N, kernel_shape=[2, 2], strides=[2, 2])


def like(g: RandomGraph) -> None:
    """CastLike, Dropout with its mask, CenterCropPad, Col2Im."""
    op = str(g.rng.choice(["CastLike", "Dropout", "CenterCropPad", "Col2Im"]))
    if op == "CastLike":
        value = g.pick(lambda v: v.dtype.kind in "iu" or v.dtype == BOOL)
        g.add(op, [value, g.pick(lambda v: is_float(v.dtype))], N)
    elif op == "Dropout":
        g.add(op, [g.pick(lambda v: is_float(v.dtype))], N, outputs=int(g.rng.integers(1, 3)))
    elif op == "CenterCropPad":
        value = g.pick(lambda v: v.rank > 1)
        sizes = g.constant(g.rng.integers(1, 9, 2).astype(np.int64))
        g.add(op, [value, sizes], N, axes=[0, value.rank - 1])
    else:
        value = g.pick(
            lambda v: v.rank == 3 and v.dtype == np.float32 and v.dims[1] in (4, 8, 12, 16) and v.dims[2] == 4
        )
        image, block = (g.constant(np.array(s, np.int64)) for s in ([3, 3], [2, 2]))
        g.add(op, [value, image, block], S)


def windows(g: RandomGraph) -> None:
    op = str(g.rng.choice(["HannWindow", "HammingWindow", "BlackmanWindow"]))
    size = g.constant(np.array(int(g.rng.integers(2, 20)), np.int64))
    g.add(op, [size], S, periodic=int(g.rng.integers(0, 2)))


def roi_align(g: RandomGraph) -> None:
    value = g.pick(lambda v: v.rank == 4 and v.dtype == np.float32 and v.static and 0 not in v.dims, g.image)
    if not value.finite:
        raise Rejected  # what becomes of an element of weight 0 is not defined
    corners = np.sort(g.rng.uniform(0, 8, [3, 2, 2]), 1).reshape(3, 4).astype(np.float32)
    batch = g.constant(g.rng.integers(0, int(value.dims[0] or 1), 3).astype(np.int64))
    g.add(
        "RoiAlign",
        [value, g.constant(corners), batch],
        S,
        output_height=2,
        output_width=3,
        sampling_ratio=2,
        mode=str(g.rng.choice(["avg", "max"])),
    )


def qlinear(g: RandomGraph) -> None:
    """QLinearMatMul and QLinearConv."""
    value = g.pick(
        lambda v: v.dtype == np.uint8 and v.rank in (2, 4) and v.dims[1] is not None and v.dims[-1] is not None
    )
    scales: list[Value] = [g.constant(np.array(s, np.float32)) for s in (0.1, 0.05, 0.3)]
    zeros = [g.constant(np.array(z, np.uint8)) for z in (2, 5, 100)]
    op = "QLinearConv" if value.rank == 4 else "QLinearMatMul"
    shape = [4, int(value.dims[1] or 0), 3, 1] if value.rank == 4 else [int(value.dims[1] or 0), 6]
    weight = g.constant(random_array(g.rng, np.dtype(np.uint8), shape))
    operands = [value, scales[0], zeros[0], weight, scales[1], zeros[1], scales[2], zeros[2]]
    if any(a.size == 0 for a in value.exact):
        raise Rejected
    g.add(op, operands, N)


TABLE = {
    quantize: 2, dynamic_quantize: 1, integer_product: 2, bits: 1, sample_grid: 1, group_norm: 1, statistics: 1,
    unpool: 1, like: 2, windows: 1, roi_align: 1, qlinear: 1,
}  # fmt: skip
