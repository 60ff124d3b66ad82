"""What LLVM's code for AMD's GPUs is generated from."""

from __future__ import annotations

import tvm
from tvm import tirx

from dsc.lower.floats import plain
from dsc.targets.gpu.floats import extremes_as_choices, halves_in_float32
from dsc.targets.rocm.aliases import without_aliases
from dsc.targets.rocm.bitcode import barriers
from dsc.targets.rocm.exchange import exchanges
from dsc.targets.tir.lets import flat_lets
from dsc.targets.tir.passes import each
from dsc.targets.tir.plain_shapes import plain_shapes


def device_passes() -> tvm.transform.Pass:
    """The part of the device. Floats are shown when all simplifiers are done."""
    return tvm.transform.Sequential(
        [
            tirx.transform.StmtSimplify(),
            each(plain_shapes, "dsc.plain_shapes"),
            each(plain, "dsc.plain_floats"),
            each(extremes_as_choices, "dsc.extremes_as_choices"),
            each(halves_in_float32, "dsc.halves_in_float32"),
            each(without_aliases, "dsc.without_aliases"),
            each(exchanges, "dsc.exchanges"),
            each(barriers, "dsc.barriers"),
            tirx.transform.LowerIntrin(),
            tirx.transform.ConvertSSA(),
            each(flat_lets, "dsc.flat_lets"),
        ],
        name="dsc.rocm.device",
    )
