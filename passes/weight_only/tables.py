"""Tables of small integers of which rows are gathered: they are gathered as bytes, and only those become floats.

    gather(dq(q, s, z), i) = dq(gather(q, i), gather(s, i), gather(z, i))

holds exactly. Integers of less than a byte lie together in one: the first part of a row in the lowest bits, the next
part in those above, so that parts are taken out side by side.
"""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.elements import computed, integer_encoding
from dsc.ir import element_of_dtype, onnx
from dsc.passes.canonicalize.facts import rank
from dsc.passes.pattern import ops, value
from dsc.passes.rule import Match, Rule
from dsc.passes.weight_only.groups import Grouped, centered, grouped

BYTE = 8
"""Bits."""


class RowsOfIntegers(Rule):
    """gather(dq(q, s, z), i) => dq(gather(q, i), gather(s, i), gather(z, i)), q, s and z constant"""

    pattern = ops.Gather(ops.DequantizeLinear(..., label="dq"), value("i"))
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        if rank(m.dq.x) != 2 or m.root.attr("axis") % 2 != 0:
            return "it does not gather rows of a matrix"
        if rank(m.i) is None:
            return "the rank of the indices is not known"
        found = grouped(m.graph, m.dq, depth_axis=1)
        if isinstance(found, str):
            return found
        return None if len(found.integers) % _in_a_byte(found) == 0 else "a row has no whole number of bytes"

    def rewrite(self, m: Match) -> SSAValue:
        found = grouped(m.graph, m.dq, depth_axis=1)
        assert isinstance(found, Grouped)  # it was checked
        found = centered(found)
        rows = _rows(m, found)
        scales = _gathered(m, found.scales.T)
        zeros = None if found.zeros is None else _gathered(m, computed(found.zeros.T))
        made: SSAValue = m.emit(onnx.DequantizeLinear, rows, scales, zeros, axis=rank(m.i), block_size=found.size).out
        return made


def _in_a_byte(found: Grouped) -> int:
    """Integers that lie in one."""
    encoding = integer_encoding(found.integers.dtype)
    assert encoding is not None  # it was checked
    return BYTE // encoding.bits


def _gathered(m: Match, table: np.ndarray) -> SSAValue:
    made: SSAValue = m.emit(onnx.Gather, m.constant(np.ascontiguousarray(table), "table"), m.i, axis=0).out
    return made


def _rows(m: Match, found: Grouped) -> SSAValue:
    """The rows of integers, in bytes of their own."""
    table, count = computed(found.integers.T), _in_a_byte(found)
    if count == 1:
        return _gathered(m, table)
    encoding = integer_encoding(found.integers.dtype)
    assert encoding is not None  # it was checked
    low = table.astype(np.int16) - encoding.least
    parts = np.split(low.astype(np.uint8), count, axis=1)
    shifts = np.arange(0, BYTE, encoding.bits, dtype=np.uint8)
    together = np.bitwise_or.reduce([part << shift for part, shift in zip(parts, shifts, strict=True)])
    bytes_ = m.emit(onnx.Unsqueeze, _gathered(m, together), m.constant(np.array([-2], np.int64))).out
    shifted = m.emit(onnx.BitShift, bytes_, m.constant(shifts.reshape(-1, 1)), direction="RIGHT").out
    apart = m.emit(onnx.BitwiseAnd, shifted, m.constant(np.array(encoding.largest - encoding.least, np.uint8))).out
    shape = np.array([*[0] * _rank(m), table.shape[1]], np.int64)
    rows: SSAValue = m.emit(onnx.Reshape, apart, m.constant(shape)).out
    if not encoding.signed:
        return rows
    wide = m.emit(onnx.Cast, rows, to=element_of_dtype(np.int8).code).out
    made: SSAValue = m.emit(onnx.Sub, wide, m.constant(np.array(-encoding.least, np.int8))).out
    return made


def _rank(m: Match) -> int:
    found = rank(m.i)
    assert found is not None  # it was checked
    return found


RULES: tuple[Rule, ...] = (RowsOfIntegers(),)
