"""YOLOv8n's topology (Ultralytics, 2023: C2f backbone, SPPF, PAN neck, anchor-free head), seeded weights."""

from __future__ import annotations

import numpy as np
import onnx

from dsc.models.builder import Builder
from dsc.models.layers import Layers
from dsc.models.weights import Random

_SIZE, _CLASSES, _BINS, _BATCH = 640, 80, 16, 1
_STRIDES = (8, 16, 32)


def yolov8n() -> onnx.ModelProto:
    """3.2 million parameters; images (1, 3, 640, 640) to (1, 84, 8400): box centre, size, class scores."""
    return _Yolo().model()


class _Yolo:
    def __init__(self) -> None:
        self._graph = Builder("yolov8n")
        self._layers = Layers(self._graph, Random(seed=8), epsilon=1e-3)

    def model(self) -> onnx.ModelProto:
        graph = self._graph
        x = graph.input("images", np.float32, (_BATCH, 3, _SIZE, _SIZE))
        x = self._conv(x, "model.0", (3, 16), 3, 2)
        x = self._c2f(self._conv(x, "model.1", (16, 32), 3, 2), "model.2", (32, 32), 1, shortcut=True)
        p3 = self._c2f(self._conv(x, "model.3", (32, 64), 3, 2), "model.4", (64, 64), 2, shortcut=True)
        p4 = self._c2f(self._conv(p3, "model.5", (64, 128), 3, 2), "model.6", (128, 128), 2, shortcut=True)
        x = self._c2f(self._conv(p4, "model.7", (128, 256), 3, 2), "model.8", (256, 256), 1, shortcut=True)
        p5 = self._sppf(x, "model.9")
        p4 = self._c2f(self._concat(self._upsample(p5), p4), "model.12", (384, 128), 1)
        out3 = self._c2f(self._concat(self._upsample(p4), p3), "model.15", (192, 64), 1)
        out4 = self._concat(self._conv(out3, "model.16", (64, 64), 3, 2), p4)
        out4 = self._c2f(out4, "model.18", (192, 128), 1)
        out5 = self._concat(self._conv(out4, "model.19", (128, 128), 3, 2), p5)
        out5 = self._c2f(out5, "model.21", (384, 256), 1)
        with graph.scope("model.22"):
            self._detect({out3: 64, out4: 128, out5: 256})
        return graph.model()

    def _conv(self, x: str, name: str, channels: tuple[int, int], kernel: int = 1, stride: int = 1) -> str:
        with self._graph.scope(name):
            x = self._layers.conv(x, f"{name}.conv", channels, kernel, stride=stride)
            return self._layers.silu(self._layers.batch_norm(x, f"{name}.bn", channels[1]))

    def _c2f(self, x: str, name: str, channels: tuple[int, int], depth: int, shortcut: bool = False) -> str:
        """Split in two, run bottlenecks on the second half, concatenate everything, mix."""
        before, after = channels
        half = after // 2
        x = self._conv(x, f"{name}.cv1", (before, after))
        parts = self._graph.ops("Split", x, self._graph.ints(half, half), results=2, axis=1)
        for index in range(depth):
            y = self._conv(parts[-1], f"{name}.m.{index}.cv1", (half, half), 3)
            y = self._conv(y, f"{name}.m.{index}.cv2", (half, half), 3)
            parts.append(self._graph.op("Add", parts[-1], y) if shortcut else y)
        return self._conv(self._concat(*parts), f"{name}.cv2", (half * (depth + 2), after))

    def _sppf(self, x: str, name: str) -> str:
        """Three poolings in a row see 5, 9 and 13 pixels."""
        pyramid = [self._conv(x, f"{name}.cv1", (256, 128))]
        for _ in range(3):
            pyramid.append(self._layers.max_pool(pyramid[-1], 5, 1, pad=2))
        return self._conv(self._concat(*pyramid), f"{name}.cv2", (512, 256))

    def _upsample(self, x: str) -> str:
        scales = self._graph.weight(f"{x}.scales", np.array([1, 1, 2, 2], np.float32))
        return self._graph.op(
            "Resize",
            x,
            "",
            scales,
            coordinate_transformation_mode="asymmetric",
            mode="nearest",
            nearest_mode="floor",
        )

    def _concat(self, *parts: str) -> str:
        return self._graph.op("Concat", *parts, axis=1)

    def _detect(self, maps: dict[str, int]) -> None:
        """The head: distances to the box's sides as distributions over 16 bins, class scores by sigmoid."""
        graph, flat = self._graph, []
        for level, (x, channels) in enumerate(maps.items()):
            boxes = self._branch(x, f"model.22.cv2.{level}", channels, 64, 4 * _BINS)
            scores = self._branch(x, f"model.22.cv3.{level}", channels, _CLASSES, _CLASSES)
            both = self._concat(boxes, scores)
            flat.append(graph.op("Reshape", both, graph.ints(_BATCH, 4 * _BINS + _CLASSES, -1)))
        every = graph.op("Concat", *flat, axis=2)
        boxes, scores = graph.ops("Split", every, graph.ints(4 * _BINS, _CLASSES), results=2, axis=1)
        boxes = self._boxes(self._expectation(boxes))
        result = self._concat(boxes, graph.op("Sigmoid", scores))
        graph.output("output0", result, np.float32, (_BATCH, 4 + _CLASSES, self._anchors()[1].size))

    def _branch(self, x: str, name: str, channels: int, width: int, after: int) -> str:
        x = self._conv(x, f"{name}.0", (channels, width), 3)
        x = self._conv(x, f"{name}.1", (width, width), 3)
        return self._layers.conv(x, f"{name}.2", (width, after), 1, bias=True)

    def _expectation(self, boxes: str) -> str:
        """Softmax over the bins and the mean bin, by a 1x1 convolution with 0..15: (1, 4, anchors)."""
        graph, anchors = self._graph, self._anchors()[1].size
        x = graph.op("Reshape", boxes, graph.ints(_BATCH, 4, _BINS, anchors))
        x = graph.op("Softmax", graph.op("Transpose", x, perm=[0, 2, 1, 3]), axis=1)
        bins = graph.weight("model.22.dfl.conv.weight", np.arange(_BINS, dtype=np.float32).reshape(1, _BINS, 1, 1))
        return graph.op("Reshape", graph.op("Conv", x, bins), graph.ints(_BATCH, 4, anchors))

    def _boxes(self, distances: str) -> str:
        """Distances from the anchors to centre and size in pixels."""
        graph = self._graph
        points, strides = self._anchors()
        anchors = graph.weight("model.22.anchors", points[None])
        left_top = graph.op("Slice", distances, graph.ints(0), graph.ints(2), graph.ints(1))
        right_bottom = graph.op("Slice", distances, graph.ints(2), graph.ints(4), graph.ints(1))
        low, high = graph.op("Sub", anchors, left_top), graph.op("Add", anchors, right_bottom)
        centre = graph.op("Div", graph.op("Add", low, high), graph.scalar(2.0))
        boxes = self._concat(centre, graph.op("Sub", high, low))
        return graph.op("Mul", boxes, graph.weight("model.22.strides", strides))

    @staticmethod
    def _anchors() -> tuple[np.ndarray, np.ndarray]:
        """Cell centres (2, anchors) in cells and strides (1, anchors) in pixels, of the three levels."""
        points, strides = [], []
        for stride in _STRIDES:
            cells = np.arange(_SIZE // stride, dtype=np.float32) + 0.5
            y, x = np.meshgrid(cells, cells, indexing="ij")
            points.append(np.stack([x.ravel(), y.ravel()]))
            strides.append(np.full((1, cells.size**2), stride, np.float32))
        return np.concatenate(points, 1), np.concatenate(strides, 1)
