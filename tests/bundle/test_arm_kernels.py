"""The kernels as 64-bit Arm code, run under QEMU: one model of many small parts for each set of instructions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dsc.pipeline import compile_model
from dsc.sparsity import Pattern, matrix_of, weight_of
from dsc.targets import target
from tests.bundle.arm import launcher
from tests.bundle.bundles import bundle, tool
from tests.compiled import TextModel

RANDOM = np.random.default_rng(23)
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-41, -1e-41, 88.9, -104.5, 3e38, -3e38, 1e4], np.float32)


def floats(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def signed(*shape: int, dtype: type = np.int8) -> np.ndarray:
    """Bytes, many of them the least and the greatest."""
    limits = np.iinfo(dtype)
    array = RANDOM.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    array[RANDOM.random(shape) < 0.2] = limits.min
    array[RANDOM.random(shape) < 0.2] = limits.max
    return array


def unsigned(*shape: int) -> np.ndarray:
    return signed(*shape, dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class Part:
    """Nodes from `x` (and `z`) to `y`; the names of all parts together are made distinct."""

    nodes: str
    x: np.ndarray
    z: np.ndarray | None = None
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    kind: str = "float"
    """Element type of `y`."""
    expected: np.ndarray | None = None
    """ONNX Runtime's if not given."""


def dense(m: int, k: int, n: int) -> Part:
    weights = {"w": floats(k, n), "b": floats(n)}
    return Part("p = MatMul(x, w) s = Add(p, b) y = Relu(s)", floats(m, k), weights=weights)


def conv(c: int, oc: int, size: int, attributes: str, kernel: int = 3, groups: int = 1) -> Part:
    weights = {"w": floats(oc, c // groups, kernel, kernel), "b": floats(oc)}
    text = f"c = Conv<group={groups}, {attributes}>(x, w, b) y = Relu(c)"
    return Part(text, floats(1, c, size, size + 2), weights=weights)


def bytes_of(left: np.ndarray, right: np.ndarray, zero: np.generic) -> Part:
    """ONNX Runtime saturates sums of two products on some processors."""
    exact = ((left.astype(np.int64) - int(zero)) @ right.astype(np.int64)).astype(np.int32)
    weights = {"w": right, "zero": np.asarray(zero)}
    return Part("y = MatMulInteger(x, w, zero)", left, weights=weights, kind="int32", expected=exact)


def conv_of_bytes(x: np.ndarray, oc: int, zero: np.generic, stride: int = 1, groups: int = 1, kernel: int = 3) -> Part:
    """With one pixel of padding around 3x3 kernels, which is the zero point."""
    w, pad = signed(oc, x.shape[1] // groups, kernel, kernel), kernel // 2
    centered = np.pad(x.astype(np.int64) - int(zero), [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    windows = np.lib.stride_tricks.sliding_window_view(centered, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]
    parts = zip(np.split(windows, groups, axis=1), np.split(w.astype(np.int64), groups), strict=True)
    exact = np.concatenate([np.einsum("nchwij,ocij->nohw", *part) for part in parts], axis=1).astype(np.int32)
    text = f"y = ConvInteger<group={groups}, strides=[{stride},{stride}], pads=[{pad},{pad},{pad},{pad}]>(x, w, zero)"
    return Part(text, x, weights={"w": w, "zero": np.asarray(zero)}, kind="int32", expected=exact)


def to_one_channel(x: np.ndarray, channels: int) -> Part:
    """Of the bytes that a convolution makes, which are packed."""
    first, w = signed(channels, x.shape[1], 1, 1), signed(1, channels, 1, 1)
    middle = np.einsum("nchw,oc->nohw", x.astype(np.int64), first[:, :, 0, 0]).astype(np.uint8)
    exact = np.einsum("nchw,oc->nohw", middle - np.int64(9), w[:, :, 0, 0]).astype(np.int32)
    text = "c = ConvInteger(x, v) m = Cast<to=2>(c) y = ConvInteger(m, w, zero)"
    return Part(text, x, weights={"v": first, "w": w, "zero": np.array(9, np.uint8)}, kind="int32", expected=exact)


def by_zero_points_of_weights(left: np.ndarray, right: np.ndarray, zeros: np.ndarray) -> Part:
    """Of which some leave no signed bytes."""
    exact = ((left.astype(np.int64) - 7) @ (right.astype(np.int64) - zeros)).astype(np.int32)
    weights = {"w": right, "zero": np.array(7, left.dtype), "zeros": zeros}
    return Part("y = MatMulInteger(x, w, zero, zeros)", left, weights=weights, kind="int32", expected=exact)


def weights_of_few_bits(rows: int) -> Part:
    """In groups of 32 along the depth."""
    weights = {"w": signed(96, 41), "s": np.abs(floats(3, 41)) * np.float32(0.02)}
    return Part("d = DequantizeLinear<axis=0, block_size=32>(w, s) y = MatMul(x, d)", floats(rows, 96), weights=weights)


def zeros(part: Part, pattern: str, axis: int) -> Part:
    """The same by a weight of which a tenth is left, in blocks. axis: of its outputs."""
    weight = part.weights["w"]
    mask = Pattern.parse(pattern).keep(RANDOM.random(matrix_of(weight, axis).shape), 0.1)
    pruned = np.where(weight_of(mask, axis, weight.shape), weight, weight.dtype.type(0))
    return replace(part, weights={**part.weights, "w": pruned})


def bytes_by_zeros(x: np.ndarray, n: int, zero: np.generic) -> Part:
    part = zeros(bytes_of(x, signed(x.shape[1], n), zero), "4x1", 1)
    return bytes_of(x, part.weights["w"], zero)


def function(name: str, x: np.ndarray | None = None) -> Part:
    return Part(f"y = {name}(x)", np.concatenate([SPECIAL, floats(41) * 5]) if x is None else x)


PARTS = [
    *(dense(*sizes) for sizes in [(1, 1000, 64), (3, 10, 130), (49, 24, 97), (131, 33, 17), (8, 64, 16), (7, 3, 5)]),
    Part("y = MatMul(x, z)", floats(3, 9, 16), floats(3, 16, 21)),
    Part("t = Transpose<perm=[0,2,1]>(x) y = MatMul(t, z)", floats(2, 16, 9), floats(2, 16, 21)),
    *(
        bytes_of(left, right, zero)
        for m, k, n in [(33, 130, 65), (5, 7, 3)]
        for left, zero in [(unsigned(m, k), np.uint8(200)), (signed(m, k), np.int8(-77))]
        for right in (signed(k, n), unsigned(k, n))
    ),
    *(weights_of_few_bits(rows) for rows in (1, 37)),
    *(zeros(dense(m, 100, 72), pattern, 1) for m, pattern in [(40, "4x1"), (33, "unstructured"), (70, "4x1")]),
    *(zeros(conv(24, 40, 11, "pads=[1,1,1,1]"), pattern, 0) for pattern in ("4x1", "2x1", "4x1")),
    *(zeros(conv(32, 24, 9, "strides=[2,2]", kernel=1), "4x1", 0) for _ in range(2)),
    *(bytes_by_zeros(unsigned(37, 96), 64, np.uint8(131)) for _ in range(2)),
    bytes_by_zeros(signed(37, 96), 64, np.int8(-9)),
    conv_of_bytes(unsigned(1, 16, 7, 9), 20, np.uint8(131)),
    conv_of_bytes(signed(2, 32, 6, 5), 24, np.int8(-5), stride=2),
    conv_of_bytes(unsigned(1, 3, 13, 11), 16, np.uint8(114), stride=2),
    conv_of_bytes(signed(1, 24, 8, 7), 24, np.int8(9), groups=24),
    conv_of_bytes(unsigned(1, 32, 5, 5), 40, np.uint8(0), kernel=1),
    to_one_channel(unsigned(1, 8, 7, 9), 32),
    by_zero_points_of_weights(unsigned(5, 37), unsigned(37, 19), unsigned(19)),
    conv(16, 24, 14, "pads=[1,1,1,1]"),  # Winograd
    conv(20, 12, 9, "pads=[1,0,2,1], strides=[2,2]"),
    conv(3, 16, 23, "pads=[3,3,3,3], strides=[2,2]", kernel=7),
    conv(24, 40, 11, "pads=[0,0,0,0]", kernel=1),
    conv(24, 24, 13, "pads=[1,1,1,1]", groups=24),
    conv(32, 16, 9, "pads=[2,2,2,2], dilations=[2,2]", groups=4),
    conv(9, 7, 8, "pads=[1,1,1,1]"),
    Part(
        "s = Transpose<perm=[0,2,1]>(z) p = MatMul(x, s) m = Mul(p, scale) w = Softmax<axis=-1>(m) y = MatMul(w, z)",
        floats(2, 37, 16), floats(2, 29, 16), {"scale": np.float32(0.25)},
    ),
    *(
        Part("r = Relu(x) y = MatMul(r, w)", floats(1, 768), weights={"w": floats(768, 1024)}) for _ in range(2)
    ),
    *(
        Part(
            "g = MatMul(x, gate) p = Softmax<axis=-1>(g) c = ArgMax<axis=-1>(p) w = Gather<axis=0>(stack, c)"
            " u = Unsqueeze(x, middle) v = Unsqueeze(u, middle) y = MatMul(v, w)",
            floats(5, 32),
            weights={"gate": floats(32, 8), "stack": floats(8, 32, 48), "middle": np.array([1])},
        )
        for _ in range(2)
    ),
    Part("y = LayerNormalization<axis=-1>(x, s, b)", floats(5, 83), weights={"s": floats(83), "b": floats(83)}),
    Part("y = Softmax<axis=-1>(x)", floats(7, 101) * 20),
    Part("y = Transpose<perm=[1,0]>(x)", floats(67, 45)),
    *(
        Part("i = Cast<to=6>(x) y = Gather(t, i)", x, weights={"t": unsigned(256)}, kind="uint8")
        for x in (unsigned(31, 17), signed(5, 3), signed(9, 2000))
    ),
    Part("y = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x)", floats(1, 12, 11, 13)),
    Part("y = ReduceSum<keepdims=0>(x, axes)", floats(9, 131), weights={"axes": np.array([1])}),
    Part("q = QuantizeLinear(x, s, z0) y = DequantizeLinear(q, s, z0)", floats(77),
         weights={"s": np.float32(0.02), "z0": np.uint8(120)}),
    Part("y = Cast<to=6>(x)", np.array([1.5, -1.5, 2.5, 1e9, -7.9, 0.0], np.float32), kind="int32"),
    Part("h = Cast<to=10>(x) y = Cast<to=1>(h)", floats(61) * 100),
    Part("h = Cast<to=16>(x) y = Cast<to=1>(h)", floats(61) * 100),
    *map(function, ("Exp", "Tanh", "Sigmoid", "Erf", "Gelu", "Softplus", "Abs", "Floor", "Round", "Neg")),
    *(function(name, np.abs(floats(53)) + 1e-3) for name in ("Log", "Sqrt", "Reciprocal")),
    *(function(name, floats(53) * 3) for name in ("Sin", "Cos")),
]  # fmt: skip


def joined() -> tuple[TextModel, dict[str, np.ndarray]]:
    """All parts as one model, and its inputs. The first dim of every input is free for every third part."""
    inputs, outputs, nodes = [], [], []
    weights: dict[str, np.ndarray] = {}
    feeds: dict[str, np.ndarray] = {}
    kinds = {"float32": "float", "int8": "int8", "uint8": "uint8"}
    for number, part in enumerate(PARTS):
        names = {name: f"{name}_{number}" for name in _names(part)}
        for name, array in (("x", part.x), ("z", part.z)):
            if array is not None:
                dims = [str(size) for size in array.shape]
                if number % 3 == 0 and part.z is None:
                    dims[0] = f"d{number}"
                inputs.append(f"{kinds[array.dtype.name]}[{','.join(dims)}] {names[name]}")
                feeds[names[name]] = array
        weights.update({names[name]: np.asarray(array) for name, array in part.weights.items()})
        outputs.append(f"{part.kind}[{','.join(f'o{number}_{axis}' for axis in range(_rank(part)))}] {names['y']}")
        nodes.append(_renamed(part.nodes, names))
    text = f"({', '.join(inputs)}) => ({', '.join(outputs)}) {{ {' '.join(nodes)} }}"
    return TextModel(text, weights), feeds


def _tokens(text: str) -> list[str]:
    return re.findall(r"<[^>]*>|\w+|[^\w\s]", text)


def _names(part: Part) -> set[str]:
    tokens = _tokens(part.nodes)
    made = {name for name, after in pairwise(tokens) if after == "="}
    return made | {"x", "z", *part.weights}


def _renamed(text: str, names: Mapping[str, str]) -> str:
    return " ".join(names.get(token, token) for token in _tokens(text))


def _rank(part: Part) -> int:
    return part.x.ndim - (1 if "keepdims=0" in part.nodes else 0)


@pytest.mark.parametrize("tag", ["armv8-a", "neoverse-v1"])
def test_every_kernel(tag: str, tmp_path: Path) -> None:
    tool("aarch64-linux-gnu-g++")
    onto = target(f"arm:{tag}")
    model, feeds = joined()
    compilation = compile_model(model.proto(), target=onto)
    assert not any(choice.failures for choice in compilation.model.choices)
    used = {choice.kernel for choice in compilation.model.choices}
    assert used >= {kernel.name for kernel in onto.kernels()} - {"cpu.empty", "cpu.quantized_rows"}
    compilation.model.write(tmp_path / "parts.dsc")
    found = bundle(tmp_path / "parts.dsc", tmp_path / "parts", launcher(onto.backend())).run(feeds, tmp_path)
    for part, array, reference in zip(PARTS, found, model.reference(feeds), strict=True):
        wanted = reference if part.expected is None else part.expected
        assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape), part.nodes
        finite = np.abs(wanted[np.isfinite(wanted)]).max(initial=0) if wanted.dtype.kind == "f" else 0
        scale = finite if finite < 1e30 else 1.0
        np.testing.assert_allclose(array, wanted, rtol=2e-5, atol=2e-6 * scale, err_msg=part.nodes)
