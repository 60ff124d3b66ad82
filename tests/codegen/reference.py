"""Compiling small graphs and comparing with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime
from xdsl.ir import Attribute, Operation, SSAValue

from dsc.codegen import CompiledModel, build
from dsc.exchange import export_model
from dsc.ir import Graph
from dsc.targets import target

HOST = target("x86")


def graph_of(inputs: Sequence[tuple[str, Attribute]], name: str = "model") -> Graph:
    return Graph.build(inputs, name=name)


def add(graph: Graph, op: Operation) -> SSAValue:
    graph.body.add_op(op)
    return op.results[0]


def constant(graph: Graph, array: np.ndarray, name: str = "weight") -> SSAValue:
    return add(graph, graph.make_constant(array, name))


def check(graph: Graph, feeds: Mapping[str, np.ndarray], tolerance: float = 1e-5) -> CompiledModel:
    """Compile, run with one thread and two, compare every output."""
    compiled = build(graph, HOST)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(export_model(graph).SerializeToString(), options)
    expected = dict(zip(graph.output_names, session.run(graph.output_names, dict(feeds)), strict=True))
    for threads in (1, 2):
        outputs = compiled.load(threads).run(feeds)
        assert list(outputs) == graph.output_names
        for name, reference in expected.items():
            assert outputs[name].dtype == reference.dtype, name
            assert outputs[name].shape == reference.shape, name
            np.testing.assert_allclose(outputs[name], reference, rtol=tolerance, atol=tolerance, err_msg=name)
    return compiled
