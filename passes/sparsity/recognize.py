"""sparsity: the types of weights say where they have zeros, so that kernels need not multiply them.

Models that were pruned anywhere are recognized: zeros are counted. It comes after regions are formed, which may put
weights together, and changes types alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dsc.errors import UsageError
from dsc.ir import FusionOp, Graph, SparseAttr, WeightOp, encoding_of, shape_of
from dsc.ir.types import with_encoding
from dsc.passes.base import Pass, PassRecord
from dsc.passes.sparsity.factors import factors
from dsc.passes.sparsity.patterns import zeros_of
from dsc.sparsity import sparsity

SMALLEST = 1024
"""Elements of a weight that is worth a look."""
LEAST = 0.15
"""The share of zeros from which a weight counts as sparse."""


@dataclass(frozen=True)
class Sparsity(Pass):
    """Tells for each weight that is multiplied which blocks have zeros, and how many do: blocks of outputs, and in
    products of bytes those along the inputs too.

    least: the share of zeros from which a weight counts as sparse.
    """

    name: ClassVar[str] = "sparsity"

    least: float = LEAST

    def apply(self, graph: Graph, record: PassRecord) -> None:
        if not 0 < self.least <= 1:
            raise UsageError(f"sparsity: least is a share above 0 and up to 1, not {self.least}")
        for factor in factors(graph):
            op, weight = factor.op, factor.weight
            if encoding_of(weight.out.type) is not None or obstacle(graph, weight):
                continue
            data = graph.weights.get(weight.weight)
            share = sparsity(data)
            if share < self.least:
                record.miss("w => w : #dsc.sparse", op, _band(share))
                continue
            zeros = zeros_of(data, factor.axis, factor.depths)
            _state(weight, SparseAttr.of(zeros.pattern, factor.axis, zeros.density))
            record.fire(f"w => w : #dsc.sparse<{zeros.pattern}>")


def _band(share: float) -> str:
    """The reason why a weight is none, alike for many."""
    return "no zeros" if share == 0 else "fewer than 1 % are zeros" if share < 0.01 else "few are zeros"


def obstacle(graph: Graph, weight: WeightOp) -> str:
    """Why a weight is none that is looked at, in words; empty where it is one."""
    dtype = graph.weights.dtype(weight.weight)
    if dtype != np.int8 and not np.issubdtype(dtype, np.floating):
        return f"a weight of {dtype.name}"
    return f"fewer than {SMALLEST} weights" if math.prod(shape_of(weight.out.type) or ()) < SMALLEST else ""


def _state(weight: WeightOp, encoding: SparseAttr) -> None:
    """Puts it on the type of a weight, inside of regions too."""
    type_ = with_encoding(weight.out.type, encoding)
    weight.out._type = type_
    for use in weight.out.uses:
        if isinstance(use.operation, FusionOp):
            use.operation.block.args[use.index]._type = type_
