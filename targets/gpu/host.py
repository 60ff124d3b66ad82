"""The processor beside a GPU, which launches its kernels."""

from __future__ import annotations

from dsc.host import FAMILY
from dsc.targets.arm.machines import BY_TAG as ARM
from dsc.targets.x86.machines import BY_TAG as X86

HOST = ARM["armv8-a"] if FAMILY == "arm" else X86["x86-64-v2"]
"""The least of the host's family: nothing is computed there, and so the artifact runs beside a GPU in whatever host."""
