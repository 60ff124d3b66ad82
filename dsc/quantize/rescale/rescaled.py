"""A model whose channels are scaled, as it is being made."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.helper

from dsc.quantize.network import Network
from dsc.quantize.nodes import QdqNodes
from dsc.quantize.prepare import drop_unused, replace_nodes
from dsc.quantize.rescale.joints import Joint
from dsc.quantize.rescale.places import Place


class Rescaled:
    """Constants of a network in float64, factors of channels going into them; nothing else of it is changed.

    Constants are those of the node that reads them: where several nodes read one, each has its own in the end. Tensors
    that have factors in them get other names, so that nobody takes them for those of the model as it was.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._nodes = {node.name: node for node in network.nodes}
        self._changed: dict[tuple[str, int], np.ndarray] = {}
        self._factors: dict[str, np.ndarray] = {}
        self._of_outputs: dict[str, np.ndarray] = {}
        self._clips: dict[str, np.ndarray] = {}
        self._inserted: dict[str, Joint] = {}
        self._renamed: dict[str, str] = {}

    def array(self, place: Place) -> np.ndarray:
        """The constant as it is now, float64."""
        found = self._changed.get((place.node, place.index))
        if found is not None:
            return found
        array = self._network.constant(self._nodes[place.node].input[place.index])
        assert array is not None  # it was a constant when the joint was found
        return array.astype(np.float64)

    def scale(self, joint: Joint, factors: np.ndarray) -> None:
        """Divide the tensor's channels by factors: the constants that make it, or by a product before its readers."""
        for place in (*joint.makers, *joint.weights):
            self._changed[place.node, place.index] = place.scaled(self.array(place), factors)
        for clip in joint.clips:
            self._clips[clip] = self._bound(clip) / factors.reshape(joint.along)
        if not joint.makers:
            self._inserted[joint.tensor] = joint
        self._renamed.update((tensor, f"{tensor}_scaled") for tensor in joint.tensors)
        self._factors[joint.tensor] = self.factors(joint) * factors
        if joint.layer is not None:
            self._of_outputs[joint.layer.name] = self._factors[joint.tensor]

    def factors(self, joint: Joint) -> np.ndarray:
        """By what the channels of a joint's tensor are divided."""
        return self._factors.get(joint.tensor, np.ones(joint.channels))

    @property
    def of_outputs(self) -> Mapping[str, np.ndarray]:
        """By what a layer's output channels are divided, by its name; layers that are as they were are not there."""
        return self._of_outputs

    def _bound(self, clip: str) -> np.ndarray:
        known = self._clips.get(clip)
        if known is not None:
            return known
        bound = self._network.constant(self._nodes[clip].input[2])
        assert bound is not None  # it was checked
        return bound.astype(np.float64)

    def model(self) -> onnx.ModelProto:
        """The model with what was scaled, in float32."""
        model, make = onnx.ModelProto(), QdqNodes(self._network.model)
        model.CopyFrom(self._network.model)
        names = {tensor: make.fresh(wish) for tensor, wish in self._renamed.items()}
        smoothed, nodes = dict[str, str](), list[onnx.NodeProto]()
        readers = {layer.name: joint for joint in self._inserted.values() for layer in joint.readers}
        for node in model.graph.node:
            for index, name in enumerate(node.input):
                array = self._changed.get((node.name, index))
                if array is not None:
                    node.input[index] = make.initializer(f"{name}_scaled", array.astype(np.float32))
            if node.name in readers:
                nodes += self._product(readers[node.name], smoothed, make)
                node.input[0] = smoothed[node.input[0]]
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
            nodes += [node] if node.name not in self._clips else self._cut(node, make)
        replace_nodes(model.graph, nodes)
        model.graph.initializer.extend(make.initializers)
        drop_unused(model.graph)
        return model

    def _product(self, joint: Joint, made: dict[str, str], make: QdqNodes) -> list[onnx.NodeProto]:
        """The tensor over its factors, by a node before the first of its readers."""
        if joint.tensor in made:
            return []
        over = 1 / self._factors[joint.tensor].reshape(joint.along)
        factor = make.initializer(f"{joint.tensor}_smoothing", over.astype(np.float32))
        made[joint.tensor] = make.fresh(f"{joint.tensor}_smooth")
        name = make.fresh(f"{joint.tensor}_Mul")
        return [onnx.helper.make_node("Mul", [joint.tensor, factor], [made[joint.tensor]], name=name)]

    def _cut(self, clip: onnx.NodeProto, make: QdqNodes) -> list[onnx.NodeProto]:
        """``min(relu(x), bounds)``, the bounds a vector, for ``clip(x, 0, bound)``."""
        bounds = make.initializer(f"{clip.input[2]}_scaled", self._clips[clip.name].astype(np.float32))
        relu = make.fresh(f"{clip.output[0]}_relu")
        return [
            onnx.helper.make_node("Relu", [clip.input[0]], [relu], name=make.fresh(f"{clip.name}_Relu")),
            onnx.helper.make_node("Min", [relu, bounds], [clip.output[0]], name=clip.name),
        ]
