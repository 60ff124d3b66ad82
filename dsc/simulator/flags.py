"""How the core and kernels are compiled."""

from __future__ import annotations

_COMMON = ("-std=c++17", "-O2", "-march=x86-64-v3", "-fPIC", "-fvisibility=hidden", "-w")
CORE = (*_COMMON, "-pthread")

_KERNEL = (
    *_COMMON,
    "-g1",
    "-fno-exceptions",
    "-fstack-clash-protection",  # a stack that is full meets the page below it
    "-fno-strict-aliasing",
    "-fno-math-errno",
    "-ffp-contract=fast",  # as nvcc does
)
_INSTRUMENTED = (
    "-fsanitize=thread,bounds",
    "--param=tsan-instrument-func-entry-exit=0",
    # Accesses stay those of the source: not merged, and vectors not taken apart.
    "-fno-tree-vectorize",
    "-fno-tree-slp-vectorize",
    "-fno-store-merging",
    "-fno-tree-sra",
    "-fno-ipa-sra",
)
_UNINSTRUMENTED = ("-fsanitize=alignment,bounds",)


def kernel_flags(checks: bool) -> list[str]:
    """For a translated source file, whose accesses to memory are watched one by one or not."""
    instrumentation = _INSTRUMENTED if checks else _UNINSTRUMENTED
    return [*_KERNEL, *instrumentation, f"-DSIMULATOR_INSTRUMENTED={int(checks)}"]
