"""CPUs as data."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.targets.cpu.byte_table import ByteTable
from dsc.targets.machine import Machine, MultiplyAdd


@dataclass(frozen=True, kw_only=True)
class Cpu(Machine):
    """One kind of CPU."""

    mcpu: str
    """LLVM's name of the processor: fixes instruction set and scheduling model."""
    triple: str
    """LLVM's name of instruction set, vendor and system."""
    features: frozenset[str]
    """Instruction-set features the code may use, named as in Linux' ``/proc/cpuinfo``."""
    mattr: tuple[str, ...] = ()
    """LLVM features added (``+f``) to or taken (``-f``) from those of `mcpu`."""
    llvm_options: tuple[str, ...] = ()
    """Options of LLVM's code generator, as its command line has them."""
    remark: str = ""
    """What a host lacks of the processor that it is taken for, and what follows from it."""
    vector_bits: int
    """Width of the registers that kernels should use."""
    vector_registers: int
    """Architectural registers of that width."""
    vector_rate: float
    """Full vectors of arithmetic started per cycle."""
    pipes: int = 2
    """Vector operations started per cycle at most, however narrow they are."""
    issue: int = 4
    """Instructions of any kind started per cycle at least."""
    window: int = 512
    """Instructions that out-of-order execution has in flight."""
    load_bits: int
    """Bits loaded from L1 per cycle."""
    broadcasts: int = 2
    """Elements of memory per cycle that are put in every lane of a vector."""
    broadcast_operand: bool = False
    """Whether an instruction takes an element of memory for all lanes as its operand."""
    lane_operand: bool = False
    """Whether a multiplication takes one lane of a register for all lanes as its operand."""
    widening_loads: bool = False
    """Whether loading bytes as 16 bits each takes no more than loading 16 bits."""
    converts_float16: bool = True
    """Whether instructions convert vectors of float16 to float32 and back."""
    rounds_bfloat16: bool = False
    """Whether an instruction rounds vectors of float32 to bfloat16; subnormal numbers may become 0."""
    byte_table: ByteTable | None = None
    """The instructions that look vectors of bytes up in registers."""
    l1_bytes: int
    l1_ways: int = 8
    """Lines a multiple of `l1_way_bytes` apart that L1 holds at once."""
    l1_way_bytes: int = 4096
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

    def lanes(self, bits: int = 32) -> int:
        """Elements of `bits` bits in one vector register."""
        return self.vector_bits // bits

    def has(self, *features: str) -> bool:
        """Whether every feature named is there."""
        return self.features.issuperset(features)

    def multiply_adds(self, a: str, b: str, accumulator: str) -> tuple[MultiplyAdd, ...]:
        """Those of a row and vectors: most register tiles are made of no others."""
        return tuple(row for row in super().multiply_adds(a, b, accumulator) if row.m == 1)

    def matrix_products(self, a: str, b: str, accumulator: str) -> tuple[MultiplyAdd, ...]:
        """Those of several rows at once, whose operands and sums are one register each."""
        return tuple(row for row in super().multiply_adds(a, b, accumulator) if row.m > 1)

    def multiply_add(self, lanes: int, a: str = "float32", b: str = "float32", sum_: str = "float32") -> MultiplyAdd:
        """The narrowest instruction for so many sums at least; LookupError where there is none."""
        fitting = [i for i in self.multiply_adds(a, b, sum_) if i.n >= lanes]
        if not fitting:
            raise LookupError(f"{self.name} has no instruction for {lanes} sums of {a} x {b} in {sum_}")
        return fitting[-1]

    @property
    def beyond_l2(self) -> float:
        """Bytes/s that one core reads from beyond its L2: from L3, or from memory where there is none."""
        return self.l3_bandwidth or self.dram_bandwidth

    def bandwidth(self, footprint: float, cores: int = 1) -> float:
        if footprint <= self.l1_bytes * cores:
            return self.l1_bandwidth * cores
        if footprint <= self.l2_bytes * cores:
            return self.l2_bandwidth * cores
        if footprint <= self.l3_bytes:
            return self.l3_bandwidth * cores
        return min(self.dram_bandwidth * cores, self.dram_bandwidth_total)

    def describe(self) -> str:
        rows = " ".join(f"{row.name}-{row.m}x{row.n}x{row.k}" for row in self.instructions)
        return f"{self.name} {' '.join((self.mcpu, *self.mattr))} {self.vector_bits}b x{self.cores}: {rows}"
