"""What half precision does to each node's output, with everything before it in float32.

Each node has a twin beside it of which operands, weights and results are rounded, and which computes in float32 as
kernels do. The difference of the two is looked at, in one pass over some samples, of which nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import onnx
import onnx.helper

from dsc.check.deviation import decibels
from dsc.elements import ElementType
from dsc.quantize.calibration import Feed, Statistic, collect
from dsc.quantize.calibration.statistics import Values
from dsc.quantize.halves import HalfForm
from dsc.quantize.layers import Layer
from dsc.quantize.network import Network
from dsc.quantize.nodes import QdqNodes
from dsc.quantize.reduced.convert import rounded
from dsc.quantize.sensitivity import Shape

_ZERO = np.array(0, np.float32)


def measure(
    network: Network,
    forms: Mapping[str, HalfForm],
    layers: Sequence[Layer],
    samples: Iterable[Feed],
    element: ElementType,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, float], dict[str, tuple[int, ...]]]:
    """The signal-to-noise ratio of each node that has a form, in decibels; the shapes of what products read and give.

    layers: the products, of which shapes are wanted, as in the first sample. Raises UsageError for samples that the
    model does not take.
    """
    twins = _Twins(network, element)
    model = twins.model(forms)
    shapes, powers, errors = dict[str, Shape](), dict[str, _Power](), dict[str, _Power]()
    for layer in layers:
        names = (layer.data, layer.weight, layer.output)
        shapes |= {name: Shape() for name in names if not network.is_constant(name)}
    for output, difference in twins.differences.values():
        powers[output], errors[difference] = _Power(), _Power()
    watched = dict.fromkeys((*shapes, *powers, *errors))

    def watch(name: str) -> Sequence[Statistic]:
        return [found[name] for found in (shapes, powers, errors) if name in found]

    collect(model, samples, watch, list(watched), on_progress=on_progress)
    ratios = {
        name: decibels(powers[output].mean, errors[difference].mean)
        for name, (output, difference) in twins.differences.items()
    }
    return ratios, {name: shape.shape for name, shape in shapes.items()}


class _Twins:
    def __init__(self, network: Network, element: ElementType) -> None:
        self._network, self._element, self._make = network, element, QdqNodes(network.model)
        self._nodes: list[onnx.NodeProto] = []
        self._rounded: dict[str, str] = {}
        self.differences: dict[str, tuple[str, str]] = {}
        """By node, its first result and the tensor of the difference."""

    def model(self, forms: Mapping[str, HalfForm]) -> onnx.ModelProto:
        """The float model with a twin beside each node that has a form."""
        for node in self._network.nodes:
            self._nodes.append(node)
            if node.name in forms:
                self._add_twin(node, forms[node.name])
        model = onnx.ModelProto()
        model.CopyFrom(self._network.model)
        del model.graph.node[:]
        model.graph.node.extend(self._nodes)
        model.graph.initializer.extend(self._make.initializers)
        return model

    def _add_twin(self, node: onnx.NodeProto, form: HalfForm) -> None:
        twin = onnx.NodeProto()
        twin.CopyFrom(node)
        twin.name = self._make.fresh(f"{node.name}_twin")
        twin.input[:] = [self._through(n) if i in form.operands else n for i, n in enumerate(node.input)]
        twin.output[:] = [self._make.fresh(f"{name}_twin") if name else "" for name in node.output]
        self._nodes.append(twin)
        output, other = node.output[form.results[0]], self._through(twin.output[form.results[0]])
        self.differences[node.name] = output, self._difference(output, other)

    def _difference(self, output: str, other: str) -> str:
        """``output - other``, 0 where both are the same infinity."""
        zero = self._make.initializer(f"{output}_zero", _ZERO)
        same, less, difference = (self._make.fresh(f"{output}_{part}") for part in ("same", "less", "error"))
        self._nodes += [
            onnx.helper.make_node("Equal", [output, other], [same]),
            onnx.helper.make_node("Sub", [output, other], [less]),
            onnx.helper.make_node("Where", [same, zero, less], [difference]),
        ]
        return difference

    def _through(self, name: str) -> str:
        """A tensor after it was in half precision, as float32."""
        if name in self._rounded:
            return self._rounded[name]
        constant = self._network.constant(name)
        if constant is None:
            half, wide = self._make.fresh(f"{name}_half"), self._make.fresh(f"{name}_wide")
            self._nodes += [
                onnx.helper.make_node("Cast", [name], [half], to=self._element.code),
                onnx.helper.make_node("Cast", [half], [wide], to=onnx.TensorProto.FLOAT),
            ]
        else:
            wide = self._make.initializer(f"{name}_wide", rounded(constant, self._element).astype(constant.dtype))
        self._rounded[name] = wide
        return wide


class _Power:
    """The mean of squares."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, values: Values) -> None:
        numbers = values.numbers.astype(np.float64)
        self._sum += float(numbers @ numbers)
        self._count += numbers.size

    @property
    def mean(self) -> float:
        return self._sum / max(self._count, 1)
