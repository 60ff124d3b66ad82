"""Attention within a window, as the pass `sparsify-attention` makes it of a region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from xdsl.ir import Block
from xdsl.ir import Region as IrRegion

from dsc.exchange import export_model, import_model
from dsc.ir import FusionOp, Graph, YieldOp
from dsc.lower.workload import Workload
from dsc.passes.sparsity import SparsifyAttention
from tests.targets.weighted import Weighted


@dataclass(frozen=True)
class WindowedAttention(Weighted):
    """A region of `text` after the pass; its reference is ONNX Runtime on the graph that is exported after it."""

    kind: str = "attention"
    window: int = 1

    def graph(self) -> Graph:
        """One region, its inputs in the order of the text."""
        source = import_model(super().model())
        named = list(zip(source.input_names, (value.type for value in source.inputs), strict=True))
        graph = Graph.build(named, source.weights)
        block = Block(arg_types=[type_ for _, type_ in named])
        values = dict(zip(source.inputs, block.args, strict=True))
        for op in source.ops():
            block.add_op(op.clone(values))
        outputs = [values[value] for value in source.outputs]
        block.add_op(YieldOp(*outputs))
        fusion = FusionOp(self.kind, graph.inputs, [value.type for value in outputs], IrRegion(block))
        graph.body.add_op(fusion)
        graph.set_outputs(list(zip(source.output_names, fusion.results, strict=True)))
        record = SparsifyAttention(self.window).run(graph)
        assert record.changed, record.near_misses()
        return graph

    def model(self) -> onnx.ModelProto:
        """As it is exported after the pass."""
        return export_model(self.graph())

    def workload(self) -> Workload:
        """The region."""
        (fusion,) = self.graph().ops()
        return Workload.of(fusion)


def band(length: int, window: int) -> np.ndarray:
    """Which keys each query sees."""
    places = np.arange(length)
    return np.abs(places[:, None] - places) <= window


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, added: np.ndarray) -> np.ndarray:
    """``softmax(q k + added) v`` in float64, 0 for queries without keys; k is ``[..., depth, keys]``."""
    scores = q.astype(np.float64) @ k.astype(np.float64) + added
    with np.errstate(invalid="ignore"):
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
    return np.nan_to_num(weights) @ v.astype(np.float64)
