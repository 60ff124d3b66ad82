"""Products by weights of any zero point: exactly, on odd sizes, of the least and the greatest bytes there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from dsc.pipeline import compile_model
from tests.compiled import TextModel

RANDOM = np.random.default_rng(29)
ZEROS = (0, 1, 127, 128, 255)
VNNI, PAIRS = "x86", "x86:skylake"
"""What is here, as a rule with VNNI; and pairs of 16 bits, where `vpmaddubsw` would saturate."""


def bytes_of(dtype: str, *shape: int) -> np.ndarray:
    """Random bytes, many of them the least and the greatest."""
    ends = np.iinfo(dtype)
    array = RANDOM.integers(ends.min, ends.max, shape, dtype, endpoint=True)
    array[RANDOM.random(shape) < 0.2] = ends.min
    array[RANDOM.random(shape) < 0.2] = ends.max
    return array


def check(text: str, weights: dict[str, np.ndarray], x: np.ndarray, expected: np.ndarray, onto: str) -> set[str]:
    """That a model gives what it ought to; the kernels that it is made of."""
    compilation = compile_model(TextModel(text, weights).proto(), target=onto)
    assert not any(choice.failures for choice in compilation.model.choices)
    (found,) = compilation.model.load(threads=1).run({"x": x}).values()
    np.testing.assert_array_equal(found, expected)
    return {choice.kernel for choice in compilation.model.choices}


def products(left: str, right: str, shape: tuple[int, ...], n: int, onto: str, x: np.ndarray | None = None) -> None:
    """By one matrix for each of the zero points, and for those of columns."""
    *_, k = shape
    x = bytes_of(left, *shape) if x is None else x
    weights, names, wanted = {"zx": bytes_of(left)}, [], []
    least = np.iinfo(right).min
    for i, zero in enumerate([*(np.array(z + least, right) for z in ZEROS), bytes_of(right, n)]):
        w = bytes_of(right, k, n)
        weights |= {f"w{i}": w, f"z{i}": zero}
        names.append(f"y{i}")
        wanted.append((x.astype(np.int64) - weights["zx"]) @ (w.astype(np.int64) - zero))
    nodes = " ".join(f"y{i} = MatMulInteger(x, w{i}, zx, z{i})" for i in range(len(names)))
    rows, (*outer, _) = ",".join(map(str, shape)), shape
    made = ",".join(map(str, (*outer, len(names) * n)))
    joined = f"y = Concat<axis=-1>({', '.join(names)})"
    text = f"({left}[{rows}] x) => (int32[{made}] y) {{ {nodes} {joined} }}"
    used = check(text, weights, x, np.concatenate(wanted, axis=-1), onto)
    assert "cpu.gemm" in used


@pytest.mark.parametrize("onto", [VNNI, PAIRS])
@pytest.mark.parametrize(("left", "right"), [("uint8", "uint8"), ("int8", "int8")])
def test_products(left: str, right: str, onto: str) -> None:
    products(left, right, (5, 37), 19, onto)


def test_rows_of_a_batch() -> None:
    products("uint8", "uint8", (2, 3, 131), 7, VNNI)


@pytest.mark.parametrize("onto", [VNNI, PAIRS])
def test_nothing_saturates(onto: str) -> None:
    """Every product is the greatest there is, or the least."""
    for byte in (0, 255):
        products("uint8", "uint8", (3, 1027), 9, onto, np.full((3, 1027), byte, np.uint8))


@dataclass(frozen=True)
class Conv:
    """A convolution of bytes that a convolution made, so that they are packed."""

    channels: int
    oc: int
    zero: int | None
    """Of the weights; None for one for each output channel."""
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    size: tuple[int, int] = (7, 9)
    left: str = "uint8"

    def check(self, onto: str) -> set[str]:
        first = bytes_of("int8", self.channels, 8, 1, 1)
        w = bytes_of("uint8", self.oc, self.channels // self.groups, self.kernel, self.kernel)
        zero = bytes_of("uint8", self.oc) if self.zero is None else np.array(self.zero, np.uint8)
        weights = {"v": first, "w": w, "zx": bytes_of(self.left), "zw": zero}
        x, pad, kind = bytes_of("uint8", 2, 8, *self.size), self.kernel // 2, {"uint8": 2, "int8": 3}[self.left]
        middle = np.einsum("nchw,oc->nohw", x.astype(np.int64), first[:, :, 0, 0]).astype(self.left)
        centered = np.pad(middle.astype(np.int64) - weights["zx"], [(0, 0), (0, 0), (pad, pad), (pad, pad)])
        windows = np.lib.stride_tricks.sliding_window_view(centered, (self.kernel, self.kernel), (2, 3))
        windows = windows[:, :, :: self.stride, :: self.stride]
        wide = w.astype(np.int64) - zero.reshape(-1, 1, 1, 1)
        parts = zip(np.split(windows, self.groups, axis=1), np.split(wide, self.groups), strict=True)
        expected = np.concatenate([np.einsum("nchwij,ocij->nohw", *part) for part in parts], axis=1)
        attributes = f"group={self.groups}, strides=[{self.stride},{self.stride}], pads=[{pad},{pad},{pad},{pad}]"
        nodes = f"c = ConvInteger(x, v) m = Cast<to={kind}>(c) y = ConvInteger<{attributes}>(m, w, zx, zw)"
        text = f"(uint8[2,8,{self.size[0]},{self.size[1]}] x) => (int32[2,{self.oc},h,w] y) {{ {nodes} }}"
        return check(text, weights, x, expected, onto)


DIRECT, SINGLE, DEPTHWISE = "cpu.conv2d.direct", "cpu.conv2d.single", "cpu.conv2d.depthwise"
CONVS = {
    "1x1": (Conv(32, 48, 3), {DIRECT, SINGLE}),
    "1x1, zero points of channels": (Conv(24, 20, None), {DIRECT, SINGLE}),
    "1x1, signed": (Conv(48, 16, 255, left="int8"), {DIRECT, SINGLE}),
    "1x1, few channels": (Conv(12, 24, 0, size=(4, 4)), {DIRECT, SINGLE}),
    "1x1, strided": (Conv(16, 24, None, stride=2), {DIRECT}),
    "3x3": (Conv(16, 24, 1, kernel=3), {DIRECT}),
    "in groups": (Conv(16, 32, None, kernel=3, groups=4), {DIRECT}),
    "depthwise": (Conv(32, 32, 0, kernel=3, groups=32), {DIRECT, DEPTHWISE}),
    "depthwise, zero points of channels": (Conv(24, 24, None, kernel=5, stride=2, groups=24), {DIRECT, DEPTHWISE}),
    "depthwise, signed": (Conv(16, 16, 255, kernel=3, groups=16, left="int8"), {DIRECT, DEPTHWISE}),
}


@pytest.mark.parametrize("name", CONVS)
def test_convolutions(name: str) -> None:
    case, kernels = CONVS[name]
    assert kernels <= case.check(VNNI)


@pytest.mark.parametrize("name", ["1x1, zero points of channels", "1x1, signed", "depthwise"])
def test_convolutions_of_16_bits(name: str) -> None:
    case, kernels = CONVS[name]
    assert kernels <= case.check(PAIRS)


@pytest.mark.parametrize("size", [(2, 5), (3, 3), (23, 17)])
def test_images_of_odd_numbers_of_pixels(size: tuple[int, int]) -> None:
    """The last of several tiles overlaps the one before."""
    assert SINGLE in Conv(32, 8, 9, size=size).check(VNNI)
