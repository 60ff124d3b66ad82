"""Attention whose factors are bytes: regions of any signs and zero points, and exact results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from tests.targets.weighted import Weighted

_BODY = """
    kt = Transpose<perm=[0,1,3,2]>(k)
    qf = DequantizeLinear(q, sq, zq) kf = DequantizeLinear(kt, sk, zk) vf = DequantizeLinear(v, sv, zv)
    p = MatMul(qf, kf) pm = Add(p, mask) s = Softmax<axis=-1>(pm)
    b = QuantizeLinear(s, sw, zw) w = DequantizeLinear(b, sw, zw) y = MatMul(w, vf)"""
STEP = 1 / 255
NEAR = 4e-3
"""Of a step: so near to the middle of two bytes, float32 may choose another one than exact arithmetic. Scores below 30
are off by some 4e-6, and so are their exponentials, of 255 steps at most."""


@dataclass(frozen=True)
class QuantizedAttention(Weighted):
    """``softmax(q k^T + mask) v`` of heads that lie apart, weights quantized too; inputs are arrays of all bytes."""

    kind: str = "attention"
    zeros: tuple[np.generic, ...] = ()
    """Zero points of q, k, v and the weights, which tell the types as well."""

    @staticmethod
    def of(lengths: tuple[int | str, ...], zeros: Sequence[np.generic], **sizes: int) -> QuantizedAttention:
        """lengths: of the batch, heads, queries, keys, depth, and width."""
        b, h, s, t, d, e = lengths
        shapes = {"q": (b, h, s, d), "k": (b, h, t, d), "v": (b, h, t, e)}
        types = dict(zip("qkvw", (zero.dtype.name for zero in zeros), strict=True))
        inputs = [f"{types[name]}[{','.join(map(str, shape))}] {name}" for name, shape in shapes.items()]
        inputs += [f"float[{b},1,1,{t}] mask", *(f"float s{name}, {types[name]} z{name}" for name in "qkvw")]
        text = f"({', '.join(inputs)}) => (float[{b},{h},{s},{e}] y) {{ {_BODY} }}"
        return QuantizedAttention(text, sizes, zeros=tuple(zeros))

    def arrays(self, seed: int = 0) -> list[np.ndarray]:
        """Random bytes, many of them the least and the greatest."""
        random = np.random.default_rng(seed)
        zeros = dict(zip(("zq", "zk", "zv", "zw"), self.zeros, strict=True))
        scales = {"sq": 0.011, "sk": 0.0037, "sv": 0.017, "sw": STEP}
        found: list[np.ndarray] = []
        for value in self.model().graph.input:
            dims = value.type.tensor_type.shape.dim
            shape = [d.dim_value if d.HasField("dim_value") else self.sizes[d.dim_param] for d in dims]
            dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            if value.name in zeros:
                found.append(np.asarray(zeros[value.name]))
            elif value.name in scales:
                found.append(np.asarray(scales[value.name], np.float32))
            elif value.name == "mask":
                found.append(random.standard_normal(shape, np.float32))
            else:
                limits = np.iinfo(dtype)
                array = random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
                array[random.random(shape) < 0.2] = limits.min
                array[random.random(shape) < 0.2] = limits.max
                found.append(array)
        return found


def exact(arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The context in float64, and by how much each element may be off: by a step for each weight that is nearly in the
    middle of two bytes, and by roundings of what is scaled."""
    q, k, v, mask, sq, zq, sk, zk, sv, zv, sw, zw = (array.astype(np.float64) for array in arrays)
    scores = (q - zq) @ (k - zk).swapaxes(-1, -2) * (sq * sk) + mask
    exponentials = np.exp(scores - scores.max(-1, keepdims=True))
    steps = exponentials / exponentials.sum(-1, keepdims=True) / sw
    limits = np.iinfo(arrays[-1].dtype)
    weights = np.clip(np.rint(steps) + zw, limits.min, limits.max) - zw
    near = np.abs(steps % 1 - 0.5) < NEAR
    context = weights @ (v - zv) * (sw * sv)
    return context, near @ np.abs(v - zv) * (sw * sv) + 1e-6 * np.abs(context) + 1e-9
