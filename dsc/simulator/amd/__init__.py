"""AMD's kernels, as LLVM's code, executed on the CPU under the simulator's core.

    >>> from dsc.simulator.amd import compile_image
    >>> image = compile_image(module.inspect_source("llvm"), "gfx942")

docs/simulator.md says what is executed, what is found, and how.
"""

from __future__ import annotations

from dsc.simulator.amd.image import compile_image

__all__ = ["compile_image"]
