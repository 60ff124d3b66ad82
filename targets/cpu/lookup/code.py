"""The code of a lookup: the table stays in registers, and vectors of bytes go through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv, minimum
from dsc.targets.cpu.byte_table import ByteTable
from dsc.targets.cpu.tile import reinterpreted
from dsc.targets.tir.loops import Loops, argument, flat, function, spread

ENTRIES = 256
"""Of a table: one for each byte."""
SHARE = 16384
"""Bytes of a task: the table is loaded anew for each."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of bytes."""

    shape: Sequence[Dim]
    dtype: str


def write(tensors: Sequence[Tensor], table_at: int, made: Tensor, form: ByteTable, parallel: bool) -> tirx.PrimFunc:
    """``made[i] = table[source[i]]`` for all elements; a signed byte counts as the unsigned one of the same bits.

    tensors: the source and the table, which is the one at `table_at`.
    """
    with function() as written:
        given = [argument(f"in{i}", tensor.shape, tensor.dtype) for i, tensor in enumerate(tensors)]
        result = flat(argument("out0", made.shape, made.dtype))
        source, table = flat(given[1 - table_at]), given[table_at]
        count = source.shape[0]
        count = int(count) if isinstance(count, tirx.IntImm) else count
        loops = Loops("int32" if isinstance(count, int) else "int64")
        with loops.each(ceildiv(count, SHARE), T.parallel if parallel else T.serial) as task:
            begin = T.Bind(task * SHARE)
            share = loops.bind(minimum(SHARE, count - begin))
            _share(source, table, result, form, begin, share, loops)
    return written.get()


def _share(
    source: tirx.Buffer,
    table: tirx.Buffer,
    result: tirx.Buffer,
    form: ByteTable,
    begin: Expr,
    share: Expr,
    loops: Loops,
) -> None:
    """Some neighbours: whole vectors, and those left one by one."""
    lanes, as_bytes = form.lanes, f"uint8x{form.lanes}"
    parts = [T.Bind(reinterpreted(table[tirx.Ramp(first, 1, lanes)], as_bytes)) for first in range(0, ENTRIES, lanes)]
    vectors = T.Bind(tirx.floordiv(share, lanes))
    with loops.each(vectors) as vector:
        at = loops.span(begin + vector * lanes, lanes)
        found = _FORMS[form.form](parts, T.Bind(reinterpreted(source[at], as_bytes)))
        T.buffer_store(result, reinterpreted(found, f"{result.dtype}x{lanes}"), [at])
    with loops.each(share - vectors * lanes) as rest:
        at = T.Bind(begin + vectors * lanes + rest)
        index = reinterpreted(source[at], "uint8").astype("int32")
        T.buffer_store(result, table[index], [at])


def _by_two(parts: Sequence[Expr], index: Expr) -> Expr:
    """Two registers are looked up by the lower 7 bits, and the upper one chooses between two such pairs."""
    kind, (first, second, third, fourth) = index.ty, parts
    low, high = (
        tirx.call_llvm_pure_intrin(str(kind), "llvm.x86.avx512.vpermi2var.qi.512", left, index, right)
        for left, right in ((first, second), (third, fourth))
    )
    return tirx.Select(index >= spread(tirx.const(ENTRIES // 2, "uint8"), kind.dtype.lanes), high, low)


def _by_four(parts: Sequence[Expr], index: Expr) -> Expr:
    """Four registers at once; an index beyond them gives 0 the first time, and leaves what was found afterwards."""
    kind = str(index.ty)
    found = tirx.call_llvm_pure_intrin(kind, "llvm.aarch64.neon.tbl4.v16i8", *parts[:4], index)
    lanes = index.ty.dtype.lanes
    for first in range(4, len(parts), 4):
        beyond = index - spread(tirx.const(first * lanes, "uint8"), lanes)
        found = T.Bind(
            tirx.call_llvm_pure_intrin(kind, "llvm.aarch64.neon.tbx4.v16i8", found, *parts[first : first + 4], beyond)
        )
    return found


_FORMS: dict[str, Callable[[Sequence[Expr], Expr], Expr]] = {"vpermi2b": _by_two, "tbl": _by_four}
