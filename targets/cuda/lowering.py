"""What CUDA C++ is generated from."""

from __future__ import annotations

import tvm
from tvm import tirx

from dsc.lower.floats import plain
from dsc.targets.gpu.floats import doubles_in_bits, extremes_as_choices, halves_in_float32
from dsc.targets.tir.passes import each


def device_passes() -> tvm.transform.Pass:
    """The part of the device. Floats are shown when all simplifiers are done."""
    return tvm.transform.Sequential(
        [
            tirx.transform.StmtSimplify(),
            each(plain, "dsc.plain_floats"),
            each(extremes_as_choices, "dsc.extremes_as_choices"),
            each(halves_in_float32, "dsc.halves_in_float32"),
            tirx.transform.LowerIntrin(),
            each(doubles_in_bits, "dsc.doubles_in_bits"),
        ],
        name="dsc.cuda.device",
    )
