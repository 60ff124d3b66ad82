"""Running bundles for 64-bit Arm: by an emulator where this is another processor."""

from __future__ import annotations

import platform

from dsc.targets.backend import Backend
from tests.bundle.bundles import tool

ARCH = "aarch64"
SYSTEM = "/usr/aarch64-linux-gnu"
"""Where Debian's cross compiler has the C and C++ libraries for it."""


def launcher(backend: Backend) -> tuple[str, ...]:
    """How a command for the backend's processor is started here."""
    arch = backend.needs[0].facts["arch"]
    if arch == platform.machine():
        return ()
    assert arch == ARCH, f"there is no way to run code for {arch} here"
    return tool("qemu-aarch64-static"), "-L", SYSTEM
