"""Convolutions of bytes: exactly, for both signs, with zero points, padding and layouts of every kind."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from dsc.pipeline import compile_model

RANDOM = np.random.default_rng(23)


@dataclass(frozen=True)
class Case:
    """One convolution of bytes."""

    x: tuple[int, int, int, int]
    oc: int
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1
    types: tuple[str, str] = ("uint8", "int8")
    zero: int | None = None
    free: tuple[int, ...] = field(default=())
    """Axes of the input of any size."""
    by: str = "cpu.conv2d.direct"
    """The kernel that takes it."""

    @property
    def attributes(self) -> dict[str, object]:
        """Those of the node."""
        return {
            "kernel_shape": list(self.kernel), "strides": list(self.strides), "pads": list(self.pads),
            "dilations": list(self.dilations), "group": self.groups,
        }  # fmt: skip

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Random bytes, many of them the least and the greatest."""
        shapes = self.x, (self.oc, self.x[1] // self.groups, *self.kernel)
        x, w = (_bytes(dtype, shape) for dtype, shape in zip(self.types, shapes, strict=True))
        return x, w

    def model(self, w: np.ndarray, dtype: type[np.generic] | str) -> onnx.ModelProto:
        """ConvInteger of bytes; Conv of floats is the reference: so few terms are exact in float32."""
        exact = dtype == np.float32
        shape = [f"d{axis}" if axis in self.free else size for axis, size in enumerate(self.x)]
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        x = onnx.helper.make_tensor_value_info("x", kind, shape)
        result = onnx.TensorProto.FLOAT if exact else onnx.TensorProto.INT32
        y = onnx.helper.make_tensor_value_info("y", result, None)
        weights = [onnx.numpy_helper.from_array(w.astype(dtype) if exact else w, "w")]
        names = ["x", "w"]
        if self.zero is not None and not exact:
            weights.append(onnx.numpy_helper.from_array(np.array(self.zero, dtype), "z"))
            names.append("z")
        node = onnx.helper.make_node("Conv" if exact else "ConvInteger", names, ["y"], **self.attributes)
        graph = onnx.helper.make_graph([node], "convolution", [x], [y], weights)
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)


def _bytes(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    limits = np.iinfo(dtype)
    array = RANDOM.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    array[RANDOM.random(shape) < 0.2] = limits.min
    array[RANDOM.random(shape) < 0.2] = limits.max
    return array


def check(case: Case, onto: str) -> None:
    x, w = case.arrays()
    compilation = compile_model(case.model(w, case.types[0]), target=onto)
    choice = next(c for c in compilation.model.choices if "conv" in c.kernel)
    assert not choice.failures
    assert choice.kernel == case.by
    session = ort.InferenceSession(case.model(w, np.float32).SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x.astype(np.float32) - (case.zero or 0)})
    (found,) = compilation.model.load().run({"x": x}).values()
    np.testing.assert_array_equal(found, expected.astype(np.int32))


DEPTHWISE = "cpu.conv2d.depthwise"
CASES = {
    "1x1": Case((1, 32, 7, 9), 48),
    "1x1, strided": Case((2, 16, 9, 9), 24, strides=(2, 2)),
    "1x1, signed, of a zero point": Case((1, 16, 5, 3), 20, types=("int8", "int8"), zero=-7),
    "3x3": Case((1, 16, 8, 11), 32, kernel=(3, 3), pads=(1, 1, 1, 1), zero=131),
    "3x3, signed": Case((1, 32, 6, 5), 16, kernel=(3, 3), pads=(1, 1, 1, 1), types=("int8", "int8"), zero=3),
    "3x3, dilated": Case((1, 8, 13, 12), 16, kernel=(3, 3), pads=(2, 2, 2, 2), dilations=(2, 2), zero=255),
    "5x3, uneven padding": Case((1, 24, 9, 10), 8, kernel=(5, 3), pads=(2, 0, 1, 1), strides=(2, 1)),
    "stem": Case((1, 3, 15, 17), 16, kernel=(3, 3), pads=(0, 0, 1, 1), strides=(2, 2), zero=114),
    "stem, signed": Case((2, 3, 16, 12), 24, kernel=(7, 7), pads=(3, 3, 3, 3), strides=(2, 2), types=("int8", "int8")),
    "stem, of runs, any size": Case((2, 3, 14, 13), 16, kernel=(7, 7), pads=(2, 3, 4, 1), zero=99, free=(0, 2, 3)),
    "one channel, of runs": Case((3, 1, 9, 8), 20, kernel=(3, 5), pads=(1, 2, 1, 2), strides=(1, 3), zero=7),
    "narrower than a run": Case((2, 5, 4, 2), 16, kernel=(3, 5), pads=(1, 2, 1, 2), types=("int8", "int8"), zero=-5),
    "one row of pixels under a run": Case((2, 6, 1, 3), 64, kernel=(3, 5), pads=(1, 2, 1, 2), zero=200),
    "odd channels": Case((1, 6, 5, 7), 10, kernel=(3, 3), pads=(1, 1, 1, 1), zero=9),
    "one pixel": Case((2, 128, 1, 1), 96, zero=1),
    "one pixel, odd channels": Case((1, 7, 1, 1), 4, types=("int8", "int8"), zero=-128),
    "pixels of any number of images, few channels": Case((3, 2, 1, 1), 8, free=(0,)),
    "grouped": Case((1, 32, 6, 6), 64, kernel=(3, 3), pads=(1, 1, 1, 1), groups=4, zero=77),
    "any size": Case((2, 16, 9, 6), 16, kernel=(3, 3), pads=(1, 1, 1, 1), zero=5, free=(0, 2, 3)),
    "depthwise": Case((1, 32, 10, 9), 32, kernel=(3, 3), pads=(1, 1, 1, 1), groups=32, by=DEPTHWISE),
    "depthwise, of a zero point": Case(
        (1, 24, 11, 8), 24, kernel=(5, 5), pads=(2, 2, 2, 2), strides=(2, 2), groups=24, zero=128, by=DEPTHWISE
    ),
    "depthwise, signed, any width": Case(
        (1, 16, 6, 13), 16, kernel=(3, 3), pads=(1, 1, 1, 1), groups=16, types=("int8", "int8"), zero=-3, free=(3,),
        by=DEPTHWISE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_exactly(name: str) -> None:
    check(CASES[name], "x86")


@pytest.mark.parametrize("name", ["stem, signed", "one channel, of runs", "narrower than a run"])
def test_runs_of_16_bits(name: str) -> None:
    """Without VNNI."""
    check(CASES[name], "x86:haswell")


@pytest.mark.parametrize(("name", "joined"), [("stem, signed", True), ("one channel, of runs", True), ("stem", False)])
def test_pixels_under_a_row_of_the_filter_are_joined_where_that_is_less(name: str, joined: bool) -> None:
    """Of nine bytes in a row, three quads are as many as of three pixels."""
    case = CASES[name]
    x, w = case.arrays()
    (choice,) = compile_model(case.model(w, x.dtype), target="x86:znver4").model.choices[:1]
    assert f"joined={joined}" in choice.point
