"""Writing ONNX graphs in code, node by node, with names as PyTorch's exporter gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import onnx
from onnx import helper, numpy_helper

Attribute = int | float | str | Sequence[int] | Sequence[float]
RECIPE = "dsc.recipe"
"""The key of a model's metadata under which it says which recipe of the zoo it was built by."""
_IR_VERSION = 8


class Builder:
    """An ONNX graph under construction. Values are known by name; `scope` prefixes node names."""

    def __init__(self, name: str, opset: int = 17) -> None:
        """`name` is that of the recipe."""
        self._name, self._opset = name, opset
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._scopes: list[str] = []
        self._used: dict[str, int] = {}

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Nodes made inside are called /<scope>/.../<op>, as exported modules are."""
        self._scopes.append(name)
        try:
            yield
        finally:
            self._scopes.pop()

    def input(self, name: str, dtype: type[np.generic], shape: Sequence[int | str]) -> str:
        """Declare a model input; a string is a free dim of that name."""
        self._inputs.append(_value_info(name, dtype, shape))
        return name

    def output(self, name: str, value: str, dtype: type[np.generic], shape: Sequence[int | str]) -> None:
        """Declare `value` a model output, renaming it to `name`."""
        for node in self._nodes:
            for names in (node.input, node.output):
                for index, known in enumerate(names):
                    if known == value:
                        names[index] = name
        self._outputs.append(_value_info(name, dtype, shape))

    def weight(self, name: str, array: np.ndarray) -> str:
        """Declare an initializer; returns `name`. The name must be new."""
        if name in self._weights:
            raise ValueError(f"weight {name} is declared twice")
        self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def ints(self, *values: int) -> str:
        """A 1-D int64 constant, as exporters write shapes and axes."""
        return self._constant(np.array(values, np.int64))

    def scalar(self, value: float) -> str:
        """A 0-D float32 constant."""
        return self._constant(np.float32(value))

    def op(self, kind: str, *operands: str, results: int = 1, **attributes: Attribute) -> str:
        """Append a node; the name of its first result (see `ops` for more). "" is an absent operand."""
        return self.ops(kind, *operands, results=results, **attributes)[0]

    def ops(self, kind: str, *operands: str, results: int, **attributes: Attribute) -> list[str]:
        """Append a node with several results; their names."""
        name = self._unique("/" + "/".join([*self._scopes, kind]))
        outputs = [f"{name}_output_{index}" for index in range(results)]
        self._nodes.append(helper.make_node(kind, list(operands), outputs, name=name, **attributes))
        return outputs

    def model(self) -> onnx.ModelProto:
        """The finished model; raises onnx.checker.ValidationError if it is not valid ONNX."""
        graph = helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, list(self._weights.values()))
        model = helper.make_model(
            graph, producer_name="dsc.models", opset_imports=[helper.make_opsetid("", self._opset)]
        )
        model.ir_version = _IR_VERSION
        helper.set_model_props(model, {RECIPE: self._name})
        onnx.checker.check_model(model)
        return model

    def _constant(self, array: np.ndarray | np.generic) -> str:
        name = self._unique("/" + "/".join([*self._scopes, "Constant"]))
        output = f"{name}_output_0"
        value = numpy_helper.from_array(np.asarray(array), output)
        self._nodes.append(helper.make_node("Constant", [], [output], name=name, value=value))
        return output

    def _unique(self, name: str) -> str:
        count = self._used[name] = self._used.get(name, -1) + 1
        return f"{name}_{count}" if count else name


def _value_info(name: str, dtype: type[np.generic], shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape))
