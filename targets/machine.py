"""A machine described as data: what a kernel may use, and the numbers with which its time is estimated."""

from __future__ import annotations

from dataclasses import dataclass

import tvm


@dataclass(frozen=True)
class Machine:
    """Facts about one kind of CPU. Kernels read these and never ask which product it is.

    Sizes are bytes, rates are per core and in SI units (bytes/s, Hz) unless the name says otherwise.
    """

    name: str
    """Tag it is found under, such as ``x86:znver4``."""
    kind: str
    """TVM target kind: ``llvm`` for every CPU."""
    mcpu: str
    """LLVM's name of the processor: fixes instruction set and scheduling model."""
    features: frozenset[str]
    """Instruction-set features the code may use, named as in Linux' ``/proc/cpuinfo``."""
    vector_bits: int
    """Width of the registers that kernels should use."""
    vector_registers: int
    """Architectural registers of that width."""
    fma_bits: int
    """Bits of fused multiply-add started per cycle over all pipes: 512 on Zen 4, whose 512-bit operations
    take two cycles of a 256-bit pipe, 1024 on Zen 5 and on server Intel."""
    fma_latency: int
    """Cycles until a fused multiply-add can feed the next."""
    load_bits: int
    """Bits loaded from L1 per cycle."""
    frequency: float
    """Hz under sustained vector load."""
    cores: int
    """Physical cores, which is how many threads share a kernel."""
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    """Last-level cache that the cores share; 0 when there is none."""
    l1_bandwidth: float
    l2_bandwidth: float
    l3_bandwidth: float
    dram_bandwidth: float
    """What one core reads from memory."""
    dram_bandwidth_total: float
    """What all cores together read from memory."""
    launch_seconds: float = 1.5e-6
    """Cost of one parallel region of dsc's own thread pool (`dsc/codegen/parallel.c`) with its workers awake."""
    mattr: tuple[str, ...] = ()
    """LLVM features added (``+f``) to or taken (``-f``) from those of `mcpu`."""
    triple: str | None = None
    """LLVM target triple when code is not for the host's."""

    def lanes(self, bits: int = 32) -> int:
        """Elements of `bits` bits in one vector register."""
        return self.vector_bits // bits

    @property
    def fma_vectors(self) -> float:
        """Full vectors of fused multiply-add started per cycle: 1.0 on Zen 4, 2.0 on Zen 5 and with AVX2."""
        return self.fma_bits / self.vector_bits

    @property
    def load_vectors(self) -> float:
        """Full vectors loaded from L1 per cycle."""
        return self.load_bits / self.vector_bits

    @property
    def peak_flops(self) -> float:
        """fp32 operations per second of one core; a fused multiply-add counts as two."""
        return 2 * (self.fma_bits / 32) * self.frequency

    def has(self, *features: str) -> bool:
        """Whether every feature named is there."""
        return self.features.issuperset(features)

    def bandwidth(self, footprint: float, threads: int = 1) -> float:
        """Bytes/s that `threads` cores together stream when they walk over `footprint` bytes in all."""
        if footprint <= self.l1_bytes * threads:
            return self.l1_bandwidth * threads
        if footprint <= self.l2_bytes * threads:
            return self.l2_bandwidth * threads
        if footprint <= self.l3_bytes:
            return self.l3_bandwidth * threads
        return min(self.dram_bandwidth * threads, self.dram_bandwidth_total)

    def tvm_target(self) -> tvm.target.Target:
        """The target that `tvm.compile` takes."""
        config: dict[str, object] = {"kind": self.kind, "mcpu": self.mcpu, "num-cores": self.cores}
        if self.mattr:
            config["mattr"] = list(self.mattr)
        if self.triple is not None:
            config["mtriple"] = self.triple
        return tvm.target.Target(config)

    def required_features(self) -> frozenset[str]:
        """Features a host must list (names of ``/proc/cpuinfo``) for the code to run on it."""
        return self.features
