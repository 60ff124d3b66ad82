"""Regions of one op, which read one type and write another."""

from __future__ import annotations

from dsc.ir import Fact, Graph, OnnxOp, has, shape_of
from dsc.passes.fuse.outline import single_op_fusion
from dsc.passes.precision.constants import is_float32


def wrap_elementwise(graph: Graph) -> None:
    """Make regions of the elementwise ops that are none, so that what they read and write may differ.

    They are kernels as they were. Else one that makes an output of the model would have all that it reads in float32.
    """
    for op in list(graph.ops()):
        if isinstance(op, OnnxOp) and has(op, Fact.ELEMENTWISE) and _is_kernel(op):
            single_op_fusion(graph, op, "elementwise", f"{op.onnx_name.lower()}(x)")


def _is_kernel(op: OnnxOp) -> bool:
    """Whether an op computes a tensor at run time: vectors are mostly scales and sizes, known when compiling."""
    rank = len(shape_of(op.results[0].type) or ())
    return is_float32(op.results[0]) and rank > 1
