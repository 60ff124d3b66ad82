"""sparse-inputs: products of few rows whose inputs are likely to be 0 often, as after Relu, say so.

Such a product is a stream of weights. A kernel may leave out those of an input that is 0, which it sees at run time;
what that leaves out is 0 only if the weights are finite, so they are looked at here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from xdsl.ir import Operation

from dsc.errors import UsageError
from dsc.ir import Fact, FusionOp, Graph, OnnxOp, WeightOp, has, onnx, set_expected_zeros, shape_of
from dsc.passes.base import Pass, PassRecord
from dsc.passes.canonicalize.facts import all_finite
from dsc.passes.sparsity.activations import expected_zeros
from dsc.passes.sparsity.regions import outside


@dataclass(frozen=True)
class SparseInputs(Pass):
    """States how many zeros are expected in what products of few rows multiply by a weight: after `fuse`.

    rows: the most that a product may have. The more, the fewer inputs are 0 in all of them.
    """

    name: ClassVar[str] = "sparse-inputs"

    rows: int = 4

    def apply(self, graph: Graph, record: PassRecord) -> None:
        if self.rows < 1:
            raise UsageError(f"sparse-inputs: rows is 1 or more, not {self.rows}")
        for outer, product in _products(graph):
            reason = self._refusal(graph, outer, product)
            if reason is None:
                set_expected_zeros(outer, expected_zeros(graph, product.operands[0]))
                record.fire("x @ w => sparse(x) @ w")
            else:
                record.miss("x @ w => sparse(x) @ w", product, reason)

    def _refusal(self, graph: Graph, outer: Operation, product: OnnxOp) -> str | None:
        weight = outside(outer, product.operands[1]).owner
        if not isinstance(weight, WeightOp):
            return "both factors are computed"
        if product.attr("transA", 0):
            return "its inputs are transposed"
        *rows, _ = shape_of(product.operands[0].type) or (-1, -1)
        if min(rows, default=1) < 0:
            return "a number of rows that is not known"
        if math.prod(rows) > self.rows:
            return f"more than {self.rows} rows"
        if not expected_zeros(graph, product.operands[0]):
            return "nothing says that its inputs have zeros"
        return None if all_finite(graph.weights.get(weight.weight)) else "0 x w is no 0: a weight is not finite"


def _products(graph: Graph) -> Iterator[tuple[Operation, OnnxOp]]:
    """The regions and lone ops that are one product of floats, each with that."""
    for outer in graph.ops():
        body = outer.block.ops if isinstance(outer, FusionOp) else (outer,)
        found = [op for op in body if isinstance(op, onnx.MatMul | onnx.Gemm) and has(op, Fact.PRODUCT)]
        if len(found) == 1:
            yield outer, found[0]
