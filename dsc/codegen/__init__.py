"""Graph -> Relax -> library and weights: the back half of the compiler."""

from __future__ import annotations

from dsc.codegen.build import Progress, build
from dsc.codegen.compiled import CompiledModel
from dsc.codegen.dump import dump_kernels
from dsc.codegen.emit import Call
from dsc.codegen.replay import recorded_calls
from dsc.codegen.selection import Candidate, Choice, Chooser, fastest_by_estimate

__all__ = [
    "Call",
    "Candidate",
    "Choice",
    "Chooser",
    "CompiledModel",
    "Progress",
    "build",
    "dump_kernels",
    "fastest_by_estimate",
    "recorded_calls",
]
