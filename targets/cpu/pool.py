"""The thread pool that is linked into each model for a CPU: what kernels need to know of it."""

from __future__ import annotations

LAUNCH_SECONDS = 1.5e-6
"""Cost of one parallel region of `parallel.c` with its workers awake."""
