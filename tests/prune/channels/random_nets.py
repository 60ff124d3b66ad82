"""Random small networks of images: what channels pass through in real ones, in any order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

SIZE = 6
"""Of images, height and width."""


class RandomNet:
    """Grows a graph; `tensors` are those made so far and how many channels they have."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.tensors = {"x": 5}

    def grown(self, steps: int) -> onnx.ModelProto:
        """A network of so many steps, with a head."""
        self.tensors[self._conv("x", 12)] = 12
        for _ in range(steps):
            step = STEPS[int(self._random.integers(len(STEPS)))]
            name = str(self._random.choice([t for t in self.tensors if t != "x"][-4:]))
            made = step(self, name, self.tensors[name])
            if made is not None:
                self.tensors[made[0]] = made[1]
        last = list(self.tensors)[-1]
        pooled = self._node("GlobalAveragePool", [last])
        flat = self._node("Flatten", [pooled])
        y = self._node("Gemm", [flat, self._weight(7, self.tensors[last]), self._weight(7)], transB=1)
        ends = ([2, 5, SIZE, SIZE], "x"), ([2, 7], y)
        values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for shape, name in ends]
        graph = onnx.helper.make_graph(self.nodes, "net", values[:1], values[1:], self.weights)
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)

    def _weight(self, *shape: int) -> str:
        array = self._random.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))
        return self._constant(array.astype(np.float32))

    def _constant(self, array: np.ndarray) -> str:
        self.weights.append(onnx.numpy_helper.from_array(array, f"w{len(self.weights)}"))
        return self.weights[-1].name

    def _node(self, op: str, inputs: list[str], outputs: int = 1, **attributes: object) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        names = [f"{name}_{index}" for index in range(outputs)]
        self.nodes.append(onnx.helper.make_node(op, inputs, names, name=name, **attributes))
        return names[0]

    def _conv(self, data: str, outputs: int, group: int = 1, taps: int = 3, inputs: int | None = None) -> str:
        weight = self._weight(outputs, (inputs or self.tensors[data]) // group, taps, taps)
        biases = [self._weight(outputs)] if self._random.random() < 0.5 else []
        return self._node("Conv", [data, weight, *biases], group=group, pads=[taps // 2] * 4)

    def product(self, data: str, channels: int) -> tuple[str, int]:
        outputs = int(self._random.choice([8, 12, 16, 24]))
        return self._conv(data, outputs, taps=int(self._random.choice([1, 3]))), outputs

    def grouped(self, data: str, channels: int) -> tuple[str, int] | None:
        group = int(self._random.choice([2, 4, 8]))
        return (self._conv(data, channels, group), channels) if channels % group == 0 else None

    def depthwise(self, data: str, channels: int) -> tuple[str, int]:
        times = int(self._random.choice([1, 2]))
        return self._conv(data, channels * times, channels), channels * times

    def transposed(self, data: str, channels: int) -> tuple[str, int]:
        return self._node("ConvTranspose", [data, self._weight(channels, 8, 3, 3)], pads=[1] * 4), 8

    def norm(self, data: str, channels: int) -> tuple[str, int]:
        positive = [self._constant((0.5 + self._random.random(channels)).astype(np.float32)) for _ in range(2)]
        scale, variance = positive
        return self._node(
            "BatchNormalization", [data, scale, self._weight(channels), self._weight(channels), variance]
        ), channels

    def activation(self, data: str, channels: int) -> tuple[str, int]:
        op = str(self._random.choice(["Relu", "Sigmoid", "HardSwish", "PRelu", "Clip"]))
        if op == "PRelu":
            return self._node(op, [data, self._weight(channels, 1, 1)]), channels
        limits = [self._constant(np.array(limit, np.float32)) for limit in (-1, 2)] if op == "Clip" else []
        return self._node(op, [data, *limits]), channels

    def residual(self, data: str, channels: int) -> tuple[str, int] | None:
        others = [name for name, count in self.tensors.items() if count == channels and name != data]
        return (self._node("Add", [data, str(self._random.choice(others))]), channels) if others else None

    def concat(self, data: str, channels: int) -> tuple[str, int] | None:
        other = str(self._random.choice([name for name in self.tensors if name != "x"]))
        total = channels + self.tensors[other]
        return (self._node("Concat", [data, other], axis=1), total) if total <= 48 and total % 4 == 0 else None

    def split(self, data: str, channels: int) -> tuple[str, int] | None:
        if channels < 8:
            return None
        sizes = np.array([channels // 4, channels - channels // 4], np.int64)
        first = self._node("Split", [data, self._constant(sizes)], outputs=2, axis=1)
        self.tensors[first] = int(sizes[0])
        rest = first.removesuffix("_0") + "_1"
        if self._random.random() < 0.5:
            rest = self._node("Relu", [rest])
        return self._node("Concat", [rest, first], axis=1), channels

    def cut(self, data: str, channels: int) -> tuple[str, int] | None:
        if channels < 8:
            return None
        starts, ends, axes = (np.array([number], np.int64) for number in (channels // 4, -(channels // 4), 1))
        operands = [self._constant(array) for array in (starts, ends, axes)]
        return self._node("Slice", [data, *operands]), channels - 2 * (channels // 4)

    def pool(self, data: str, channels: int) -> tuple[str, int]:
        op = str(self._random.choice(["MaxPool", "AveragePool"]))
        return self._node(op, [data], kernel_shape=[3, 3], pads=[1] * 4), channels

    def squeeze_and_excite(self, data: str, channels: int) -> tuple[str, int]:
        mean = self._node("ReduceMean", [data], axes=[2, 3], keepdims=1)
        self.tensors[mean] = channels
        inner = self._node("Relu", [self._conv(mean, 8, taps=1)])
        gate = self._node("Sigmoid", [self._conv(inner, channels, taps=1, inputs=8)])
        del self.tensors[mean]
        return self._node("Mul", [data, gate]), channels

    def shuffle(self, data: str, channels: int) -> tuple[str, int] | None:
        if channels % 4:
            return None
        shapes = ([0, 4, channels // 4, SIZE, SIZE], [0, -1, SIZE, SIZE])
        first, last = (self._constant(np.array(shape, np.int64)) for shape in shapes)
        apart = self._node("Reshape", [data, first])
        turned = self._node("Transpose", [apart], perm=[0, 2, 1, 3, 4])
        return self._node("Reshape", [turned, last]), channels


Step = Callable[[RandomNet, str, int], tuple[str, int] | None]
STEPS: tuple[Step, ...] = (
    RandomNet.product, RandomNet.product, RandomNet.product, RandomNet.grouped, RandomNet.depthwise,
    RandomNet.transposed, RandomNet.norm, RandomNet.activation, RandomNet.residual, RandomNet.concat, RandomNet.split,
    RandomNet.cut, RandomNet.pool, RandomNet.squeeze_and_excite, RandomNet.shuffle,
)  # fmt: skip
