"""What each op computes, as TVM tensor expressions; how it is computed is up to dsc.targets.

>>> workload = Workload.of(op)
>>> inputs = placeholders(workload)
>>> outputs = lower_body(workload, dict(zip(workload.inputs, inputs)))

Who adds a lowering, as in docs/adding-an-operator.md, needs `lowers`, `Call`, `requires`, and what expressions are made
of: `elementwise` and the other helpers here, `functions` (exp, erf, ...) and `composed` (sigmoid, power, ...).
"""

from __future__ import annotations

from dsc.lower import composed, functions
from dsc.lower.registry import Call, UnsupportedOpError, lowers
from dsc.lower.requirements import Requirement, requires
from dsc.lower.requirements.requirement import at_least, at_most, equal, multiple, same_shape, shape_of
from dsc.lower.support import Unsupported, is_known_to_lack, unsupported
from dsc.lower.te import lower_body, output_shapes, placeholders, prim_func
from dsc.lower.tensors import broadcast_to, cast, const_like, elementwise, in_float32, let
from dsc.lower.workload import Workload

__all__ = [
    "Call",
    "Requirement",
    "Unsupported",
    "UnsupportedOpError",
    "Workload",
    "at_least",
    "at_most",
    "broadcast_to",
    "cast",
    "composed",
    "const_like",
    "elementwise",
    "equal",
    "functions",
    "in_float32",
    "is_known_to_lack",
    "let",
    "lower_body",
    "lowers",
    "multiple",
    "output_shapes",
    "placeholders",
    "prim_func",
    "requires",
    "same_shape",
    "shape_of",
    "unsupported",
]
