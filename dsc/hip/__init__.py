"""AMD's GPUs as devices of TVM's runtime, whose packages on PyPI have none: a library of ours, in C++, on top of HIP.

It finds libamdhip64 when a device is first asked for, so that it is compiled and loaded anywhere, and says what is
missing where that is. docs/rocm.md says what it needs.
"""

from __future__ import annotations

from dsc.hip.device import architecture, load, problem
from dsc.hip.library import LIBRARY, compile_library, find_headers, sources

__all__ = ["LIBRARY", "architecture", "compile_library", "find_headers", "load", "problem", "sources"]
