"""What exporters write: patterns that passes look for, and sizes that are computed."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper

from tests.random_graphs.arrays import is_float
from tests.random_graphs.evaluate import Rejected
from tests.random_graphs.graph import Noise, RandomGraph, Value, wild

N = Noise.NONE
R = Noise.RESULT
S = Noise.SUM
F = Noise.FUNCTION


def layer_norm(g: RandomGraph) -> None:
    """Decomposed, with scale and bias."""
    x = g.pick(lambda v: v.rank > 1 and v.dtype == np.float32 and v.dims[-1] not in (None, 0), g.sequence)
    axes = g.constant(np.array([-1], np.int64))
    centred = g.one("Sub", [x, g.one("ReduceMean", [x, axes], S)], N)
    squared = (
        g.one("Pow", [centred, _scalar(g, 2.0)], R) if g.rng.random() < 0.5 else g.one("Mul", [centred, centred], R)
    )
    variance = g.one("ReduceMean", [squared, axes], S)
    deviation = g.one("Sqrt", [g.one("Add", [variance, _scalar(g, 1e-2)], N)], R)
    size = int(x.dims[-1] or 1)
    scaled = g.one("Mul", [g.one("Div", [centred, deviation], R), g.random(x.dtype, [size])], R)
    g.add("Add", [scaled, g.random(x.dtype, [size])], N)


def rms_norm(g: RandomGraph) -> None:
    x = g.pick(lambda v: v.rank > 1 and v.dtype == np.float32 and v.dims[-1] not in (None, 0), g.sequence)
    mean = g.one("ReduceMean", [g.one("Mul", [x, x], R), g.constant(np.array([-1], np.int64))], S)
    epsilon = g.constant(np.full([1] * int(g.rng.integers(0, 4)), 1e-2, np.float32))
    root = g.one("Reciprocal", [g.one("Sqrt", [g.one("Add", [mean, epsilon], N)], R)], R)
    g.add("Mul", [g.one("Mul", [x, root], R), g.random(x.dtype, [int(x.dims[-1] or 1)])], R)


def gelu(g: RandomGraph) -> None:
    """Of tame values: one step overflows where the operator that it is raised to does not."""
    x = g.pick(lambda v: is_float(v.dtype) and not any(map(wild, v.exact)))
    inner = g.one("Erf", [g.one("Div", [x, _scalar(g, 2**0.5, x.dtype)], R)], F)
    half = g.one("Mul", [x, g.one("Add", [inner, _scalar(g, 1.0, x.dtype)], N)], R)
    g.add("Mul", [half, _scalar(g, 0.5, x.dtype)], R)


def silu(g: RandomGraph) -> None:
    x = g.pick(lambda v: is_float(v.dtype))
    g.add("Mul", [x, g.one("Sigmoid", [x], F)], R)


def hard_swish(g: RandomGraph) -> None:
    """Of tame values, as `gelu`."""
    x = g.pick(lambda v: v.dtype == np.float32 and not any(map(wild, v.exact)))
    clipped = g.one("Clip", [g.one("Add", [x, _scalar(g, 3.0)], N), _scalar(g, 0.0), _scalar(g, 6.0)], N)
    g.add("Div", [g.one("Mul", [x, clipped], R), _scalar(g, 6.0)], R)


def attention(g: RandomGraph) -> None:
    """Heads split and joined by constants, with a mask whose rows may be all -inf."""
    x = g.pick(
        lambda v: v.rank == 3 and v.dtype == np.float32 and v.dims[2] in (4, 8, 12, 16) and 0 not in v.dims, g.sequence
    )
    width = int(x.dims[2] or 4)
    heads = int(g.rng.choice([1, 2, 4]))
    split = g.constant(np.array([0, -1, heads, width // heads], np.int64))

    def projected(perm: list[int]) -> Value:
        y = g.one("MatMul", [x, g.random(x.dtype, [width, width])], S)
        if g.rng.random() < 0.6:
            y = g.one("Add", [y, g.random(x.dtype, [[width], [], [1]][int(g.rng.integers(0, 3))])], N)
        return g.one("Transpose", [g.one("Reshape", [y, split], N)], N, perm=perm)

    scores = g.one("MatMul", [projected([0, 2, 1, 3]), projected([0, 2, 3, 1])], S)
    scores = g.one("Mul", [scores, _scalar(g, float((width // heads) ** -0.5))], R)
    if x.dims[1] is not None and g.rng.random() < 0.7:
        mask = np.where(g.rng.random((x.dims[1], x.dims[1])) < 0.3, g.rng.choice([-np.inf, -1e4]), 0).astype(np.float32)
        scores = g.one("Add", [scores, g.constant(mask)], N)
    weights = g.one("Softmax", [scores], S, axis=-1)
    if g.rng.random() < 0.3:
        weights = g.one("Where", [g.one("IsNaN", [weights], N), _scalar(g, 0.0), weights], N)
    mixed = g.one("MatMul", [weights, projected([0, 2, 1, 3])], S)
    joined = g.one("Transpose", [mixed], N, perm=[0, 2, 1, 3])
    g.add("Reshape", [joined, g.constant(np.array([0, -1, width], np.int64))], N)


def conv_block(g: RandomGraph) -> None:
    """Conv, BatchNormalization, activation, and what was there before added."""
    x = g.pick(lambda v: v.rank == 4 and v.dtype == np.float32 and v.dims[1] not in (None, 0), g.image)
    channels = int(x.dims[1] or 1)
    size = int(g.rng.choice([1, 3]))
    group = channels if g.rng.random() < 0.4 else 1
    weight = g.random(x.dtype, [channels, channels // group, size, size])
    if not weight.finite:
        raise Rejected  # as in `convolution`
    y = g.one("Conv", [x, weight], Noise.CONVOLUTION, group=group, pads=[size // 2] * 4)
    norms = [g.random(x.dtype, [channels]) for _ in range(3)]
    variance = g.constant(g.rng.uniform(0.5, 2, channels).astype(np.float32))
    y = g.one("BatchNormalization", [y, *norms, variance], S)
    y = g.one(str(g.rng.choice(["Relu", "Sigmoid", "HardSwish"])), [y], Noise.DIFFERENCE)
    if g.rng.random() < 0.6:
        y = g.one("Add", [y, x], N)
    if g.rng.random() < 0.3:  # squeeze and excite
        scale = g.one(
            "Sigmoid",
            [g.one("Conv", [g.one("GlobalAveragePool", [y], S), g.random(x.dtype, [channels, channels, 1, 1])], S)],
            F,
        )
        g.add("Mul", [y, scale], R)


def computed_shape(g: RandomGraph) -> None:
    """A reshape to sizes read from the tensor."""
    x = g.pick(lambda v: v.rank > 1)
    shape = g.one("Shape", [x], N)
    first = g.one("Gather", [shape, g.constant(np.array([0], np.int64))], N, axis=0)
    g.add("Reshape", [x, g.one("Concat", [first, g.constant(np.array([-1], np.int64))], N, axis=0)], N)


def size_as_data(g: RandomGraph) -> None:
    """Arithmetic with a size: x / sqrt(size), range(size) * s, a slice to a size."""
    x = g.pick(lambda v: v.rank > 0 and v.dtype == np.float32 and all(0 not in s for s in v.sizes))
    axis = int(g.rng.integers(0, x.rank))
    size = g.one("Gather", [g.one("Shape", [x], N), g.constant(np.array(axis, np.int64))], N, axis=0)
    choice = int(g.rng.integers(0, 4))
    if choice == 0:
        root = g.one("Sqrt", [g.one("Cast", [size], N, to=1)], R)
        g.add("Div", [x, root], R)
    elif choice == 1:
        steps = g.one("Range", [_whole(g, 0), size, _whole(g, 1)], N)
        g.add(
            "Mul", [g.one("Cast", [steps], N, to=1), g.random(x.dtype, [[], [1], [3, 1]][int(g.rng.integers(0, 3))])], R
        )
    elif choice == 2:
        half = g.one("Div", [size, _whole(g, 2)], N)
        end = g.one("Unsqueeze", [half, g.constant(np.array([0], np.int64))], N)
        starts, axes = g.constant(np.array([0], np.int64)), g.constant(np.array([axis], np.int64))
        g.add(
            "Slice",
            [x, starts, end, axes] if g.rng.random() < 0.5 else [x, end, g.constant(np.array([99], np.int64)), axes],
            N,
        )
    else:
        start = g.one("Unsqueeze", [g.one("Neg", [size], N), g.constant(np.array([0], np.int64))], N)
        other = g.pick(lambda v: v.rank > 0)
        last = g.constant(np.array([np.iinfo(np.int64).max], np.int64))
        g.add("Slice", [other, start, last, g.constant(np.array([other.rank - 1], np.int64))], N)


def filled(g: RandomGraph) -> None:
    """ConstantOfShape and Expand to the shape of something else, of rank 0 too."""
    x = g.pick(lambda v: v.rank < 5)
    shape = g.one("Shape", [x], N)
    if g.rng.random() < 0.5:
        y = g.one("ConstantOfShape", [shape], N, value=numpy_helper.from_array(np.array([1.5], np.float32)))
    else:
        y = g.one("Expand", [_scalar(g, 2.5), shape], N)
    if x.dtype == np.float32:
        g.add("Add", [x, y], N)


def rounding(g: RandomGraph) -> None:
    """What algebra on reals would undo: (x + c) - c, (x * c) / c, x - x, x == x."""
    x = g.pick(lambda v: v.dtype == np.float32)
    choice = int(g.rng.integers(0, 5))
    c = _scalar(g, float(g.rng.choice([12582912.0, 1.5, 3e38, 1e-38])))
    if choice == 0:
        g.add("Sub", [g.one("Add", [x, c], N), c], N)
    elif choice == 1:
        g.add("Div", [g.one("Mul", [x, c], R), c], R)
    elif choice == 2:
        g.add("Sub", [x, x], N)
    elif choice == 3:
        g.add("Equal", [x, x], N)
    else:
        g.add("Mul", [x, _scalar(g, 0.0)], N)


def _scalar(g: RandomGraph, value: float, dtype: np.dtype | type = np.float32) -> Value:
    return g.constant(np.array(value, dtype), node=bool(g.rng.random() < 0.5))


def _whole(g: RandomGraph, value: int) -> Value:
    return g.constant(np.array(value, np.int64))


TABLE = {
    layer_norm: 2, rms_norm: 1, gelu: 1, silu: 1, hard_swish: 1, attention: 3, conv_block: 3, computed_shape: 2,
    size_as_data: 3, filled: 1, rounding: 1,
}  # fmt: skip
