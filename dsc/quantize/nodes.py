"""The nodes and initializers by which a model says that something is bytes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from dsc.check.segments import read_names
from dsc.exchange.names import unique
from dsc.quantize.grid import Grid


class QdqNodes:
    """Makes QuantizeLinear and DequantizeLinear nodes with names that a model does not have yet.

    What is made for a tensor a second time is what was made the first time; `initializers` are those made so far.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self._taken = {name for node in graph.node for name in (*read_names(node), *node.output, node.name)}
        self._taken |= {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
        self.initializers: list[onnx.TensorProto] = []

    def through_bytes(self, tensor: str, grid: Grid) -> tuple[str, list[onnx.NodeProto]]:
        """The name of a tensor after it was bytes, and the two nodes that make it so."""
        parameters = self._parameters(tensor, grid)
        quantized, dequantized = self.fresh(f"{tensor}_quantized"), self.fresh(f"{tensor}_dequantized")
        return dequantized, [
            self._node("QuantizeLinear", [tensor, *parameters], quantized, tensor, grid.axis),
            self._node("DequantizeLinear", [quantized, *parameters], dequantized, tensor, grid.axis),
        ]

    def constant(self, tensor: str, array: np.ndarray, grid: Grid) -> tuple[str, onnx.NodeProto]:
        """The name of a constant's numbers, and the node that makes them of its bytes, `array`."""
        quantized = self.initializer(f"{tensor}_quantized", array)
        dequantized = self.fresh(f"{tensor}_dequantized")
        inputs = [quantized, *self._parameters(tensor, grid)]
        return dequantized, self._node("DequantizeLinear", inputs, dequantized, tensor, grid.axis)

    def initializer(self, wish: str, array: np.ndarray) -> str:
        """The name of a new constant."""
        name = self.fresh(wish)
        self.initializers.append(onnx.numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def fresh(self, wish: str) -> str:
        """A name that nothing has."""
        return unique(wish, self._taken)

    def _parameters(self, tensor: str, grid: Grid) -> list[str]:
        scale = self.initializer(f"{tensor}_scale", grid.scale)
        return [scale, self.initializer(f"{tensor}_zero_point", grid.zero_point)]

    def _node(self, op: str, inputs: Iterable[str], output: str, tensor: str, axis: int | None) -> onnx.NodeProto:
        attributes = {} if axis is None else {"axis": axis}
        name = self.fresh(f"{tensor}_{op}")
        made: onnx.NodeProto = onnx.helper.make_node(op, list(inputs), [output], name=name, **attributes)
        return made
