"""What a model takes on a target, by dsc's kernels' own estimates; nothing is compiled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Operation

from dsc.codegen.selection import Failures, candidates
from dsc.exchange import import_model
from dsc.ir import FusionOp, OnnxOp
from dsc.ir.onnx.facts import Fact, has
from dsc.lower.walk import Lowered, Walk
from dsc.lower.workload import Workload
from dsc.pipeline import optimize, preset
from dsc.quantize.layers import PRODUCTS
from dsc.quantize.prepare import prepare
from dsc.targets import AnyTarget


@dataclass(frozen=True)
class Seconds:
    """total: of a run. products: of the regions that have a product, by its name."""

    total: float
    products: Mapping[str, float]


class Estimates:
    """shapes: of the model's inputs, as they are in a run."""

    def __init__(self, target: AnyTarget, shapes: Mapping[str, Sequence[int]]) -> None:
        self.target = target
        self._shapes = {name: list(shape) for name, shape in shapes.items()}
        self._known: dict[str, float] = {}

    def of(self, model: onnx.ModelProto) -> Seconds:
        """Of a run. Raises UnsupportedModelError for a model that cannot be compiled."""
        graph = import_model(prepare(model, 0), shapes=self._shapes)  # a product with a batch norm keeps its name so
        optimize(graph, preset(2, self.target))
        walk, total, products = Walk(graph), 0.0, defaultdict[str, float](float)
        for op in graph.ops():
            step = walk.lower(op)
            if isinstance(step, Lowered) and not has(op, Fact.VIEW):
                seconds = self._seconds(step.workload)
                total += seconds
                names = _products(op)
                for name in names:
                    products[name] += seconds / len(names)
        return Seconds(total, dict(products))

    def _seconds(self, workload: Workload) -> float:
        key = workload.key()
        if key not in self._known:
            found, _ = candidates(workload, self.target, Failures())
            self._known[key] = found[0].estimate if found else 0.0
        return self._known[key]


def _products(op: Operation) -> list[str]:
    """The names of the nodes of the products in a region."""
    inside = op.walk() if isinstance(op, FusionOp) else [op]
    nodes = [each.attributes.get("node") for each in inside if isinstance(each, OnnxOp) and each.onnx_name in PRODUCTS]
    return [node.data for node in nodes if isinstance(node, StringAttr)]
