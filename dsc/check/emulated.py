"""Half precision in float32, rounded where the model has it.

ONNX Runtime on CPUs has no kernels of bfloat16 for most operators, and computes float16 in float32 without rounding
between them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from dsc.check.interface import element_codes
from dsc.check.segments import read_names
from dsc.exchange.names import unique

HALF_PRECISION = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
_TYPES_ONLY = 22
"""The opset that brought operators bfloat16, and nothing else: without it, runtimes have more of them."""


def emulated(model: onnx.ModelProto, types: Collection[int]) -> onnx.ModelProto:
    """The model with its tensors of some types (`TensorProto.DataType`) as float32, rounded where one is made.

    Inputs and outputs keep their types. The model itself where there is no such tensor. Bodies of control flow are left
    as they are.
    """
    codes = {name: code for name, code in element_codes(model).items() if code in types}
    return _Emulation(model, codes).model() if codes else model


class _Emulation:
    def __init__(self, model: onnx.ModelProto, codes: Mapping[str, int]) -> None:
        self._model, self._codes = model, codes
        graph = model.graph
        ends = [value.name for value in (*graph.input, *graph.output)]
        self._taken = {name for node in graph.node for name in (*read_names(node), *node.output)} | set(ends)
        self._wide = {name: self._fresh(f"{name}_wide") for name in dict.fromkeys(ends) if name in codes}
        """The names as float32 of inputs and outputs; all else is float32 under its own name."""

    def model(self) -> onnx.ModelProto:
        made = onnx.ModelProto()
        made.CopyFrom(self._model)
        graph = made.graph
        stored = {tensor.name for tensor in graph.initializer}
        for tensor in list(graph.initializer):
            if tensor.name in self._codes:
                self._widen(graph, tensor)
        del graph.node[:], graph.value_info[:]
        given = [value.name for value in graph.input if value.name in self._codes and value.name not in stored]
        graph.node.extend(_cast(name, self._wide[name], onnx.TensorProto.FLOAT) for name in given)
        for node in self._model.graph.node:
            graph.node.extend(self._rounding(node))
        for opset in made.opset_import:
            if opset.domain in ("", "ai.onnx") and opset.version == _TYPES_ONLY:
                opset.version -= 1
        return made

    def _widen(self, graph: onnx.GraphProto, tensor: onnx.TensorProto) -> None:
        """A constant in float32, in its own place where it is neither input nor output."""
        name = self._wide.get(tensor.name, tensor.name)
        array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        place = tensor if name == tensor.name else graph.initializer.add()
        place.CopyFrom(onnx.numpy_helper.from_array(array, name))

    def _rounding(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The node on float32, and two Casts behind each result that is of such a type in the model."""
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        copied.input[:] = [self._wide.get(name, name) for name in node.input]
        nodes = [copied]
        for index, name in enumerate(node.output):
            if name not in self._codes:
                continue
            half = copied.output[index] = name if name in self._wide else self._fresh(f"{name}_half")
            if node.op_type != "Cast":
                copied.output[index] = self._fresh(f"{name}_exact")
                nodes.append(_cast(copied.output[index], half, self._codes[name]))
            nodes.append(_cast(half, self._wide.get(name, name), onnx.TensorProto.FLOAT))
        return nodes

    def _fresh(self, wish: str) -> str:
        return unique(wish, self._taken)


def _cast(source: str, result: str, code: int) -> onnx.NodeProto:
    made: onnx.NodeProto = onnx.helper.make_node("Cast", [source], [result], to=code)
    return made
