"""precision: products of rounded factors, and tensors between kernels in half precision.

The last pass of a pipeline: regions are formed and laid out by then, and stay what they are. Within them everything is
computed in float32; what changes is what they read, write and multiply.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import ml_dtypes
import numpy as np

from dsc.errors import UsageError
from dsc.ir import FusionOp, Graph
from dsc.passes.base import Pass, PassRecord
from dsc.passes.driver import erase_if_dead
from dsc.passes.precision.apply import Halver
from dsc.passes.precision.constants import HalfConstants
from dsc.passes.precision.products import mark
from dsc.passes.precision.ranges import Ranges
from dsc.passes.precision.storage import STORED_ACTIVATIONS, Stored, decide
from dsc.passes.precision.wrap import wrap_elementwise

_STORED: dict[str, np.dtype[np.generic] | None] = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "tfloat32": None,
}
"""By the type to which factors may be rounded, that in which tensors are stored; None for float32."""


@dataclass(frozen=True)
class Precision(Pass):
    """Lets products round their factors to `type` and, where that is a half precision, stores tensors in it.

    type: float16, bfloat16, or tfloat32 (the exponent of float32, 10 bits of its mantissa, in memory a float32).
    activations: which of the tensors that are computed are of the type in memory: all; packed, those in blocks of
        channels; or none. What regions multiply by, and tables with what is looked up in them, always are. What stays
        float32, and is multiplied, is rounded by the kernels that multiply the type.
    Inputs and outputs of the model keep their types. So do tensors that may leave the range, and constants that do not
    fit it: see `ranges`. Softmax, norms, reductions and all other arithmetic are in float32.
    """

    name: ClassVar[str] = "precision"

    type: str = "float16"
    activations: str = "all"

    def apply(self, graph: Graph, record: PassRecord) -> None:
        if self.type not in _STORED:
            raise UsageError(f"precision: type is one of {', '.join(_STORED)}, not {self.type}")
        if self.activations not in STORED_ACTIVATIONS:
            raise UsageError(f"precision: activations are {', '.join(STORED_ACTIVATIONS)}, not {self.activations}")
        dtype = _STORED[self.type]
        if dtype is not None:
            wrap_elementwise(graph)
        ranges = Ranges(graph, dtype)
        if count := mark(graph, ranges, self.type):
            record.fire(f"a * b => {self.type}(a) * {self.type}(b)", count)
        if dtype is not None:
            _store(graph, decide(graph, ranges, dtype, self.activations), ranges, dtype, record)
        graph.update_signature()


def _store(graph: Graph, stored: Stored, ranges: Ranges, dtype: np.dtype[np.generic], record: PassRecord) -> None:
    """Store what may be in half precision."""
    halver = Halver(stored, ranges, HalfConstants(graph, dtype))
    ops = list(graph.ops())
    for op in ops:
        count = halver.region(op) if isinstance(op, FusionOp) else halver.lone(op)
        if count:
            record.fire(f"tensor in float32 => tensor in {dtype}", count)
    for op in ops:
        if op.parent is not None:
            erase_if_dead(op)  # constants of which only the twins are read
