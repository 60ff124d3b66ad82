"""One op of a graph by itself, as ONNX Runtime computes it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from xdsl.ir import Operation, SSAValue

from dsc.check.reference import Reference
from dsc.exchange import export_model
from dsc.ir import Graph, is_constant, tensor


def alone(graph: Graph, op: Operation, arrays: Mapping[SSAValue, np.ndarray]) -> tuple[Graph, dict[str, np.ndarray]]:
    """A graph of one op, with its constants inside, and the inputs for it.

    arrays: the values of its operands that are no constants.
    """
    operands = list(dict.fromkeys(op.operands))
    given = [v for v in operands if not is_constant(v)]
    inputs = {f"x{i}": np.require(arrays[v], requirements=["A", "C"]) for i, v in enumerate(given)}
    single = Graph.build([(n, tensor(a.dtype, a.shape)) for n, a in inputs.items()], graph.weights, graph.name)
    mapped: dict[SSAValue, SSAValue] = dict(zip(given, single.inputs, strict=True))
    for value in operands:
        if isinstance(value.owner, Operation) and is_constant(value):
            single.body.add_op(value.owner.clone(value_mapper=mapped))
    copy = op.clone(value_mapper=mapped)
    single.body.add_op(copy)
    single.set_outputs([(f"y{i}", result) for i, result in enumerate(copy.results)])
    return single, inputs


def values_of(graph: Graph, wanted: list[SSAValue], inputs: Mapping[str, np.ndarray]) -> dict[SSAValue, np.ndarray]:
    """What ONNX Runtime computes for some values of a graph on the model's inputs."""
    if not wanted:
        return {}
    mapped: dict[SSAValue, SSAValue] = {}
    tapped = Graph(graph.module.clone(mapped), graph.weights, graph.name)
    tapped.set_outputs([(f"value.{i}", mapped[v]) for i, v in enumerate(wanted)])
    found = Reference(export_model(tapped)).run(inputs)
    return dict(zip(wanted, found.values(), strict=True))
