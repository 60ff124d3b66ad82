"""Bundles for 64-bit ARM, run by an emulator where this is another processor."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from dsc.targets import Kernel, MultiplyAdd, Target
from dsc.targets.backend import Backend
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.generic.kernel import GenericKernel
from dsc.targets.cpu.machine import Cpu
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


PLAIN = Cpu(
    name="plain-arm:armv8",
    source="guesses, for the generic kernel",
    mcpu="generic",
    triple="aarch64-linux-gnu",
    features=frozenset({"asimd"}),
    vector_bits=128,
    vector_registers=32,
    vector_rate=1.0,
    instructions=(
        MultiplyAdd(
            name="fmla",
            a="float32",
            b="float32",
            accumulator="float32",
            n=4,
            rate=1.0,
            latency=4,
            accumulates=True,
            source="a guess",
        ),
    ),
    load_bits=128,
    frequency=2e9,
    cores=2,
    launch_seconds=2e-6,
    l1_bytes=32 << 10,
    l2_bytes=256 << 10,
    l3_bytes=0,
    l1_bandwidth=32e9,
    l2_bandwidth=16e9,
    l3_bandwidth=0.0,
    dram_bandwidth=8e9,
    dram_bandwidth_total=16e9,
)


class PlainArm:
    """A `dsc.targets.Family` of one machine that every 64-bit ARM processor is."""

    name = "plain-arm"

    def tags(self) -> Sequence[str]:
        return ("armv8",)

    def machine(self, tag: str) -> Cpu:
        return PLAIN

    def kernels(self, machine: Cpu) -> Sequence[Kernel[Cpu]]:
        return (GenericKernel("plain-arm.generic"),)

    def passes(self, machine: Cpu) -> str:
        return ""

    def backend(self, machine: Cpu) -> CpuBackend:
        return CpuBackend(machine, compiler=tool("aarch64-linux-gnu-gcc"))


TARGET = Target(PlainArm(), PLAIN)
