"""How a factor's tile lies in shared memory so that ``wgmma`` reads it, and what tells it so.

Lines are of 128 bytes, eight chunks, whose numbers are exchanged by the line's (PTX ISA 9.0, "Shared Memory Matrix
Layout", 128-byte swizzle). Where neighbours are neighbours in depth, a line is a line of the factor, and there are as
many in a line as a step is deep. Where they are neighbours from line to line, a line is 64 of these at one depth; what
is beyond is in further *panels*, one behind the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.gpu.matrix.fragments import CHUNK_BYTES
from dsc.targets.gpu.matrix.operand import Operand
from dsc.targets.gpu.matrix.tiling import BANKED_CHUNKS, CHUNK_WORDS, WORD_BYTES, SharedTile
from dsc.targets.gpu.warpgroup_matrix.instruction import DEPTH

PANEL_CHUNKS = BANKED_CHUNKS
"""In a line of a panel."""
LINE_BYTES = PANEL_CHUNKS * CHUNK_BYTES
GROUP = 8
"""Lines that the exchange of chunks repeats after."""
ALIGNMENT = GROUP * LINE_BYTES
"""Of panels: the exchange is by bits of addresses."""
_SWIZZLED = 1 << 62
"""128-byte swizzle."""
_UNIT = 16
"""Bytes, in which addresses and strides are told."""
_ADDRESS_BITS = 0x3FFFF


class Panels(SharedTile):
    """A `SharedTile` of panels."""

    def place(self, stage: Expr, line: Expr, chunk: Expr) -> Expr:
        """The word at which a chunk begins."""
        panel, inside = tirx.floordiv(chunk, PANEL_CHUNKS), tirx.floormod(chunk, PANEL_CHUNKS)
        moved = tirx.bitwise_xor(inside, tirx.floormod(line, GROUP))
        return stage * self.words + (((panel * self.lines + line) * PANEL_CHUNKS + moved) * CHUNK_WORDS + self.base)


@dataclass(frozen=True)
class PanelOperand(Operand):
    """A factor's tile in panels, for each of the steps."""

    @property
    def tile(self) -> Panels:
        """In shared memory."""
        found = super().tile
        return Panels(found.lines, found.chunks, found.base)

    def descriptor(self, shared: tirx.Buffer, line: Expr) -> Expr:
        """The matrix descriptor of what begins at a line of the factor, a multiple of 64, in the first stage: an
        integer of 64 bits."""
        panel_bytes = self.tile.lines * LINE_BYTES
        # Between groups of eight lines; from panel to panel, which counts only where lines are steps of depth.
        strides = GROUP * LINE_BYTES // _UNIT << 32 | panel_bytes // _UNIT << 16
        panel_lines = PANEL_CHUNKS * self.side.chunk
        bytes_before = tirx.floordiv(line, panel_lines) * panel_bytes if self.transposed else line * LINE_BYTES
        word = self.base + tirx.floordiv(bytes_before, WORD_BYTES)
        address = T.cuda.cvta_generic_to_shared(tirx.address_of(shared[word]))
        start = tirx.bitwise_and(address, tirx.const(_ADDRESS_BITS, "uint32")) >> tirx.const(4, "uint32")
        return T.Bind(tirx.bitwise_or(start.astype("uint64"), tirx.const(_SWIZZLED | strides, "uint64")))

    def of_stage(self, first: Expr, stage: Expr) -> Expr:
        """The descriptor of the same in another stage."""
        return T.Bind(first + (stage * (self.tile.words * WORD_BYTES // _UNIT)).astype("uint64"))

    def of_piece(self, descriptor: Expr, piece: int) -> Expr:
        """The descriptor of what is so many instructions deeper."""
        size = DEPTH * LINE_BYTES if self.transposed else DEPTH * self.side.bits // 8
        return descriptor + tirx.const(piece * size // _UNIT, "uint64")
