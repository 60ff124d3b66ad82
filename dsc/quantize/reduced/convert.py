"""Writing some nodes of a model in half precision: their weights, what they read and what they give."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
import onnx.helper

from dsc.check.interface import element_codes
from dsc.check.segments import read_names
from dsc.elements import ElementType
from dsc.exchange.upgrade import opset_of
from dsc.quantize.halves import HalfForm, half_form
from dsc.quantize.network import Network
from dsc.quantize.nodes import QdqNodes
from dsc.quantize.prepare import drop_unused

_TYPELESS = ("Shape", "Size")
"""What these give does not depend on the type of what they read."""


def in_half(model: onnx.ModelProto, nodes: Collection[str], element: ElementType) -> onnx.ModelProto:
    """The model with these nodes, by name, computing on `element`; those that have no such form stay as they are.

    Tensors keep their names, whatever their type, but for outputs of the model and what subgraphs read: those stay
    float32, as inputs do. Between types there is one Cast for each tensor.
    """
    return _Converter(model, element).model(frozenset(nodes)) if nodes else model


class _Converter:
    def __init__(self, model: onnx.ModelProto, element: ElementType) -> None:
        self._network, self._element = Network(model), element
        self._codes, self._opset = element_codes(model), opset_of(model.opset_import)
        self._make = QdqNodes(model)
        captured = {name for node in model.graph.node for name in read_names(node) if name not in node.input}
        self._stay = captured | set(self._network.outputs)
        self._half: dict[str, str] = {}
        """The names of tensors in half precision, by the names that they have in the float model."""
        self._float: dict[str, str] = {}
        """The names as float32 of those that are half precision under their own name."""
        self._nodes: list[onnx.NodeProto] = []

    def model(self, nodes: frozenset[str]) -> onnx.ModelProto:
        for node in self._network.nodes:
            form = half_form(node, self._codes, self._opset, self._element) if node.name in nodes else None
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            if form is None:
                self._add_float(copied)
            else:
                self._add_half(copied, form)
        model = onnx.ModelProto()
        model.CopyFrom(self._network.model)
        self._replace(model.graph)
        return model

    def _add_float(self, node: onnx.NodeProto) -> None:
        if node.op_type not in _TYPELESS:
            node.input[:] = [self._as_float(name) for name in node.input]
        self._nodes.append(node)

    def _add_half(self, node: onnx.NodeProto, form: HalfForm) -> None:
        node.input[:] = [
            self._as_half(name) if index in form.operands else self._as_float(name)
            for index, name in enumerate(node.input)
        ]
        self._nodes.append(node)
        for index in form.results:
            name = node.output[index]
            self._half[name] = name
            if name in self._stay:
                self._half[name] = node.output[index] = self._wish(name)
                self._cast(self._half[name], name, onnx.TensorProto.FLOAT)

    def _as_half(self, name: str) -> str:
        if name not in self._half:
            constant = self._network.constant(name)
            if constant is None:
                self._half[name] = self._wish(name)
                self._cast(name, self._half[name], self._element.code)
            else:
                self._half[name] = self._make.initializer(self._wished(name), rounded(constant, self._element))
        return self._half[name]

    def _as_float(self, name: str) -> str:
        if self._half.get(name) != name:
            return name
        if name not in self._float:
            self._float[name] = self._make.fresh(f"{name}_float32")
            self._cast(name, self._float[name], onnx.TensorProto.FLOAT)
        return self._float[name]

    def _wished(self, name: str) -> str:
        return f"{name}_{self._element.dtype.name}"

    def _wish(self, name: str) -> str:
        return self._make.fresh(self._wished(name))

    def _cast(self, source: str, result: str, code: int) -> None:
        name = self._make.fresh(f"{result}_Cast")
        self._nodes.append(onnx.helper.make_node("Cast", [source], [result], name=name, to=code))

    def _replace(self, graph: onnx.GraphProto) -> None:
        del graph.node[:]
        graph.node.extend(self._nodes)
        graph.initializer.extend(self._make.initializers)
        kept = [value for value in graph.value_info if self._half.get(value.name) != value.name]
        del graph.value_info[:]
        graph.value_info.extend(kept)
        drop_unused(graph)


def rounded(array: np.ndarray, element: ElementType) -> np.ndarray:
    """An array of float32 in half precision; beyond its range are infinities."""
    with np.errstate(over="ignore"):
        return array.astype(element.dtype)
