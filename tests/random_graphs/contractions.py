"""Operators that sum, choose among many, or slide a window."""

from __future__ import annotations

import numpy as np

from tests.random_graphs.arrays import BOOL, is_float
from tests.random_graphs.evaluate import Rejected
from tests.random_graphs.graph import Noise, RandomGraph, Value

SUMS = ("ReduceSum", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare")
LOGS = ("ReduceLogSum", "ReduceLogSumExp")


def reduce(g: RandomGraph) -> None:
    """Over some axes, all, or none."""
    value = g.pick(lambda v: v.dtype != BOOL)
    logs = LOGS if is_float(value.dtype) else ()
    op = str(g.rng.choice([*SUMS, "ReduceMax", "ReduceMin", "ReduceMax", "ReduceMin", *logs]))
    axes = [int(a) for a in g.rng.choice(value.rank, int(g.rng.integers(0, value.rank + 1)), replace=False)]
    axes = [a - value.rank if g.rng.random() < 0.3 else a for a in axes]
    operands: list[Value | None] = [value]
    attributes: dict[str, object] = {"keepdims": int(g.rng.integers(0, 2))}
    if axes:
        operands.append(g.constant(np.array(axes, np.int64)))
    else:
        attributes["noop_with_empty_axes"] = int(g.rng.random() < 0.3)
    exact = op in ("ReduceMax", "ReduceMin") or not is_float(value.dtype)
    g.add(op, operands, Noise.NONE if exact else Noise.SUM_LESS_SUM if op in LOGS else Noise.SUM, **attributes)


def choose(g: RandomGraph) -> None:
    """ArgMax, ArgMin and TopK."""
    value = g.pick(lambda v: v.rank > 0 and v.dtype != BOOL and all(0 not in s for s in v.sizes))
    axis = int(g.rng.integers(-value.rank, value.rank))
    if g.rng.random() < 0.6:
        op = str(g.rng.choice(["ArgMax", "ArgMin"]))
        g.add(op, [value], Noise.NONE, axis=axis, keepdims=int(g.rng.integers(0, 2)))
        return
    count = int(g.rng.integers(1, min(s[axis] for s in value.sizes) + 1))
    k = g.constant(np.array([count], np.int64))
    g.add("TopK", [value, k], Noise.NONE, outputs=2, axis=axis, largest=int(g.rng.integers(0, 2)))


def running(g: RandomGraph) -> None:
    """CumSum."""
    value = g.pick(lambda v: v.rank > 0 and v.dtype != BOOL)
    axis = g.constant(np.array(int(g.rng.integers(-value.rank, value.rank)), np.int64))
    noise = Noise.SUM if is_float(value.dtype) else Noise.NONE
    g.add("CumSum", [value, axis], noise, exclusive=int(g.rng.integers(0, 2)), reverse=int(g.rng.integers(0, 2)))


def softmax(g: RandomGraph) -> None:
    value = g.pick(lambda v: v.rank > 0 and is_float(v.dtype))
    op = str(g.rng.choice(["Softmax", "Softmax", "LogSoftmax", "Hardmax"]))
    noise = {"Hardmax": Noise.NONE, "LogSoftmax": Noise.SUM_LESS_SUM}.get(op, Noise.SUM)
    g.add(op, [value], noise, axis=int(g.rng.integers(-value.rank, value.rank)))


def normalize(g: RandomGraph) -> None:
    """Layer, RMS-like, instance, batch and Lp normalization."""
    op = str(
        g.rng.choice(["LayerNormalization", "InstanceNormalization", "BatchNormalization", "LpNormalization", "LRN"])
    )
    if op == "LayerNormalization":
        value = g.pick(lambda v: v.rank > 0 and is_float(v.dtype) and v.dims[-1] not in (None, 0))
        size = int(value.dims[-1] or 1)
        g.add(
            op, [value, g.random(value.dtype, [size]), g.random(value.dtype, [size])], Noise.SUM_LESS_SUM, epsilon=1e-2
        )
    elif op == "LpNormalization":
        value = g.pick(lambda v: v.rank > 0 and is_float(v.dtype))
        g.add(
            op,
            [value],
            Noise.SUM_LESS_SUM,
            axis=int(g.rng.integers(-value.rank, value.rank)),
            p=int(g.rng.integers(1, 3)),
        )
    else:
        value = g.pick(lambda v: v.rank in (3, 4) and v.dtype == np.float32 and v.dims[1] not in (None, 0), g.image)
        if op == "LRN" and not value.finite:
            raise Rejected  # ONNX Runtime's running sum carries them on to windows without
        channels = int(value.dims[1] or 1)
        per_channel = [
            g.random(value.dtype, [channels]) for _ in range({"LRN": 0, "InstanceNormalization": 2}.get(op, 3))
        ]
        if op == "BatchNormalization":
            variance = g.constant(g.rng.uniform(0.5, 2, channels).astype(value.dtype))
            g.add(op, [value, *per_channel, variance], Noise.SUM_LESS_SUM)
        else:
            g.add(op, [value, *per_channel], Noise.SUM_LESS_SUM, **({"size": 3} if op == "LRN" else {"epsilon": 1e-2}))


def matmul(g: RandomGraph) -> None:
    """With a weight, or of two computed ones."""
    left = g.pick(lambda v: v.rank > 0 and v.dtype != BOOL and v.dims[-1] is not None, g.sequence)
    inner = left.dims[-1]
    noise = Noise.SUM if is_float(left.dtype) else Noise.NONE
    if g.rng.random() < 0.4:
        right = g.pick(
            lambda v: (
                v.dtype == left.dtype and 0 < v.rank <= 2 and v.sizes[0][-2:][0] == inner and v.dims[-2:][0] == inner
            )
        )
    else:
        shape = [int(inner or 0), int(g.rng.choice([1, 2, 3, 8, 16, 17, 32]))]
        right = g.random(left.dtype, shape[: int(g.rng.choice([1, 2, 2, 2, 2]))])
    result = g.one("MatMul", [left, right], noise)
    if g.rng.random() < 0.5 and result.rank and result.dims[-1]:
        g.add("Add", [result, g.random(result.dtype, [int(result.dims[-1])])], noise)


def gemm(g: RandomGraph) -> None:
    left = g.pick(lambda v: v.rank == 2 and is_float(v.dtype) and v.static, g.matrix)
    transposed, turned = (int(t) for t in g.rng.integers(0, 2, 2))
    inner = int(left.dims[0 if transposed else 1] or 0)
    columns = int(g.rng.choice([1, 3, 8, 16, 20]))
    right = g.random(left.dtype, [columns, inner] if turned else [inner, columns])
    bias = [g.random(left.dtype, [[columns], [1], []][int(g.rng.integers(0, 3))])] if g.rng.random() < 0.7 else []
    scale = {"alpha": 0.5, "beta": 2.0} if g.rng.random() < 0.4 else {}
    g.add("Gemm", [left, right, *bias], Noise.SUM, transA=transposed, transB=turned, **scale)


def einsum(g: RandomGraph) -> None:
    value = g.pick(lambda v: v.rank == 3 and is_float(v.dtype) and v.static, g.sequence)
    a, b, c = (int(d or 0) for d in value.dims)
    equation, shape = [
        ("abc,cd->abd", [c, 5]),
        ("abc,abd->acd", [a, b, 3]),
        ("abc,bc->a", [b, c]),
        ("abc,abc->ab", [a, b, c]),
    ][int(g.rng.integers(0, 4))]
    g.add("Einsum", [value, g.random(value.dtype, shape)], Noise.SUM, equation=equation)


def convolution(g: RandomGraph) -> None:
    """Conv and ConvTranspose, 1-d to 3-d, grouped, dilated, padded."""
    spatial = int(g.rng.choice([1, 2, 2, 2, 3]))
    dtype = np.float32 if g.rng.random() < 0.8 else np.float16 if g.rng.random() < 0.5 else np.float64
    value = g.pick(
        lambda v: 3 <= v.rank <= 5 and is_float(v.dtype) and v.dims[1] not in (None, 0), lambda: g.image(dtype, spatial)
    )
    channels, spatial = int(value.dims[1] or 1), value.rank - 2
    groups = [d for d in range(1, channels + 1) if channels % d == 0]
    group = int(g.rng.choice([1, 1, 1, *groups, channels]))
    per_group = int(g.rng.choice([1, 1, 2, 4, 8, 3]))
    kernel = [int(g.rng.choice([1, 1, 2, 3, 3, 5])) for _ in range(spatial)]
    strides, dilations = ([int(s) for s in g.rng.choice([1, 1, 1, 2], spatial)] for _ in "ab")
    attributes: dict[str, object] = {"group": group, "strides": strides, "dilations": dilations}
    if g.rng.random() < 0.6:
        attributes["pads"] = [int(p) for p in g.rng.integers(0, 3, 2 * spatial)]
    elif max(dilations) == 1 and g.rng.random() < 0.3:
        attributes["auto_pad"] = str(g.rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    transposed = g.rng.random() < 0.25
    if transposed:
        shape = [channels, per_group, *kernel]
    else:
        shape = [group * per_group, channels // group, *kernel]
    weight = g.random(value.dtype, shape)
    if not weight.finite:
        raise Rejected  # whether they reach into the padding is not agreed upon
    bias = [g.random(value.dtype, [group * per_group])] if g.rng.random() < 0.6 else []
    pads = np.reshape(attributes.get("pads", [0] * 2 * spatial), (2, spatial)).sum(0)
    window = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    fits = "auto_pad" in attributes or all((np.array(s[2:]) + pads >= window).all() for s in value.sizes)
    if not transposed and not fits:
        raise Rejected  # what a window larger than the image gives is not agreed upon
    if transposed and group > 1 and value.dtype != np.float32:
        raise Rejected  # onnx.reference alone takes these, and its groups are wrong
    noise = Noise.SUM if transposed else Noise.CONVOLUTION
    g.add("ConvTranspose" if transposed else "Conv", [value, weight, *bias], noise, **attributes)


def pool(g: RandomGraph) -> None:
    """MaxPool, AveragePool, LpPool and the global ones."""
    spatial = int(g.rng.choice([1, 2, 2, 2, 3]))
    dtype = np.float32 if g.rng.random() < 0.8 else np.float16 if g.rng.random() < 0.5 else np.float64
    value = g.pick(
        lambda v: 3 <= v.rank <= 5 and is_float(v.dtype) and v.dims[1] not in (None, 0), lambda: g.image(dtype, spatial)
    )
    op = str(g.rng.choice(["MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool"]))
    noise = Noise.NONE if "Max" in op else Noise.SUM
    _without_nan(value)
    if op.startswith("Global"):
        g.add(op, [value], noise)
        return
    spatial = value.rank - 2
    kernel = [int(k) for k in g.rng.choice([1, 2, 3], spatial)]
    attributes: dict[str, object] = {"kernel_shape": kernel, "strides": [int(s) for s in g.rng.choice([1, 2], spatial)]}
    if g.rng.random() < 0.5:
        attributes["pads"] = [int(g.rng.integers(0, k)) for k in kernel * 2]
    if op != "LpPool" and g.rng.random() < 0.3:
        attributes["ceil_mode"] = 1
    if op == "AveragePool" and g.rng.random() < 0.5:
        attributes["count_include_pad"] = 1
    g.add(op, [value], noise, **attributes)


def _without_nan(value: Value) -> None:
    """Both references lose a NaN in some windows; numpy, and we, do not."""
    if any(np.isnan(a).any() for a in value.exact):
        raise Rejected


def resize(g: RandomGraph) -> None:
    """Nearest, linear and cubic, by scales or sizes."""
    value = g.pick(lambda v: v.rank == 4 and v.dtype == np.float32 and all(0 not in s for s in v.sizes), g.image)
    mode = str(g.rng.choice(["nearest", "linear", "cubic"]))
    coordinates = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    attributes: dict[str, object] = {"mode": mode, "coordinate_transformation_mode": str(g.rng.choice(coordinates))}
    if mode == "nearest":
        choices = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
        attributes["nearest_mode"] = str(g.rng.choice(choices))
    if g.rng.random() < 0.6:
        scales = g.constant(np.array([1, 1, *g.rng.choice([0.5, 0.6, 1.0, 1.3, 2.0, 3.0], 2)], np.float32))
        operands: list[Value | None] = [value, None, scales]
    elif value.dims[0] is not None and value.dims[1] is not None:
        sizes = [value.dims[0], value.dims[1], *(int(s) for s in g.rng.integers(1, 12, 2))]
        operands = [value, None, None, g.constant(np.array(sizes, np.int64))]
    else:
        raise Rejected
    g.add("Resize", operands, Noise.SUM, **attributes)


TABLE = {
    reduce: 5, choose: 2, running: 1, softmax: 3, normalize: 3, matmul: 6, gemm: 2, einsum: 1, convolution: 6,
    pool: 3, resize: 1,
}  # fmt: skip
