"""A model as quantization looks at it: nodes, constants, who makes a tensor and who reads it."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from dsc.check.segments import read_names


class Network:
    """A view of a prepared model (`dsc.quantize.prepare`), which it does not change.

    Nodes of subgraphs are no nodes of it, but what these read of the graph around them counts as read.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._arrays: dict[str, np.ndarray] = {}

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        """In the order in which they are computed."""
        return list(self.model.graph.node)

    @property
    def opset(self) -> int:
        """Of ONNX's own operators; 0 where none is stated."""
        return next((known.version for known in self.model.opset_import if known.domain in ("", "ai.onnx")), 0)

    @cached_property
    def inputs(self) -> list[str]:
        """The inputs that a run is given: not the constants that are listed among them."""
        return [value.name for value in self.model.graph.input if value.name not in self._tensors]

    @cached_property
    def outputs(self) -> list[str]:
        """The outputs in the model's order."""
        return [value.name for value in self.model.graph.output]

    @cached_property
    def producers(self) -> dict[str, onnx.NodeProto]:
        """The node that makes a tensor, by the tensor's name."""
        return {name: node for node in self.nodes for name in node.output if name}

    @cached_property
    def consumers(self) -> dict[str, list[onnx.NodeProto]]:
        """The nodes that read a tensor, by its name."""
        found: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in read_names(node):
                found[name].append(node)
        return found

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is an initializer."""
        return name in self._tensors

    def constant(self, name: str) -> np.ndarray | None:
        """The array of an initializer, read-only; None for what is computed."""
        if name not in self._arrays:
            if name not in self._tensors:
                return None
            self._arrays[name] = onnx.numpy_helper.to_array(self._tensors[name])
        return self._arrays[name]


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """An integer attribute of a node."""
    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else int(found.i)
