"""Loops as kernels write them: what is left out, and how symbolic sizes are divided."""

from __future__ import annotations

import re

import pytest
from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.tir.loops import Loops, argument, flat, function, pieces, spread, tile_widths, when

N = tirx.Var("n", "int64")


def written(statements: object, shape: tuple[int | Expr, ...] = (8, 4)) -> str:
    """The text of a function of one tensor `out`, which `statements` are called with."""
    with function() as made:
        statements(argument("out", shape, "float32"))
    return str(made.get().script())


def test_a_loop_that_runs_once_is_none() -> None:
    def once(out: tirx.Buffer) -> None:
        with Loops().each(1) as i, Loops().each(4) as j:
            T.buffer_store(out, tirx.const(0.0, "float32"), [i, j])

    assert len(re.findall(r"\bfor ", written(once))) == 1


def test_loops_over_symbolic_tensors_have_one_type() -> None:
    loops = Loops.over([te.placeholder((N, 4))])
    assert str(loops.const(3).ty) == "int64" == str(Loops.over([te.placeholder((N,))]).span(0, 1).ty)
    assert str(Loops.over([te.placeholder((2, 4))]).const(3).ty) == "int32"


@pytest.mark.parametrize("parts", [4, N], ids=["known", "symbolic"])
def test_only_known_sizes_are_divided_rounding_down(parts: int | Expr) -> None:
    def split(out: tirx.Buffer) -> None:
        with Loops("int64").each(32) as i:
            at, lane = Loops("int64").split(i, parts)
            T.buffer_store(out, tirx.const(0.0, "float32"), [at, lane])

    assert ("truncmod" in written(split, (8, parts))) == (parts is N)


def test_coordinates_are_row_major_and_those_of_size_one_are_zero() -> None:
    def store(out: tirx.Buffer) -> None:
        with Loops().each(24) as position:
            a, b, c = Loops().unravel(position, (2, 1, 12))
            assert isinstance(b, tirx.IntImm)
            T.buffer_store(flat(out), tirx.const(0.0, "float32"), [a * 12 + c])

    text = written(store, (24,))
    assert "// 12" in text
    assert "% 12" in text


def test_no_branch_without_a_condition() -> None:
    def store(out: tirx.Buffer) -> None:
        with when(None):
            T.buffer_store(out, tirx.const(0.0, "float32"), [0, 0])

    assert "if " not in written(store)


def test_vectors_of_one_lane_are_scalars() -> None:
    value = tirx.const(1.0, "float32")
    assert str(spread(value, 1).ty) == "float32"
    assert str(spread(value, 8).ty) == "float32x8"
    assert list(pieces(20, 8)) == [(0, 8), (8, 8), (16, 4)]


def test_narrow_tiles_stand_by_where_a_wide_one_may_not_fit() -> None:
    assert tile_widths(5, 8) == [(None, 8)]
    (fits, wide), (rest, narrow) = tile_widths(N, 8)
    assert (wide, narrow) == (8, 1)
    assert [str(fits), str(rest)] == ["n >= T.int64(8)", "n < T.int64(8)"]
    assert tile_widths(N * 8, 8) == [(None, 8)], "no size is 0"
