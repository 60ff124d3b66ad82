"""What each op computes, as TVM tensor expressions; how it is computed is up to dsc.targets.

>>> workload = Workload.of(op)
>>> inputs = placeholders(workload)
>>> outputs = lower_body(workload, dict(zip(workload.inputs, inputs)))
"""

from __future__ import annotations

from dsc.lower.registry import UnsupportedOpError, lowers
from dsc.lower.support import Unsupported, is_known_to_lack, unsupported
from dsc.lower.te import lower_body, output_shapes, placeholders, prim_func
from dsc.lower.workload import Workload

__all__ = [
    "Unsupported",
    "UnsupportedOpError",
    "Workload",
    "is_known_to_lack",
    "lower_body",
    "lowers",
    "output_shapes",
    "placeholders",
    "prim_func",
    "unsupported",
]
