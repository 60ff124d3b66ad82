"""What sizes of run time are taken to be."""

from __future__ import annotations

from tvm import tirx

from dsc.lower.nominal import NOMINAL, batch, nominal, volume

N = tirx.Var("n", "int64")


def test_variables_count_as_the_nominal_size_and_numbers_as_themselves() -> None:
    assert nominal(7) == nominal(tirx.IntImm("int64", 7)) == 7
    assert nominal(N) == NOMINAL
    assert nominal(tirx.floordiv(N, 2) + 1) == NOMINAL // 2 + 1
    assert volume((3, N)) == 3 * NOMINAL


def test_differences_are_sizes() -> None:
    assert nominal(N - 2 * NOMINAL) == 1


def test_a_free_batch_is_one() -> None:
    assert batch((N, 12)) == 12
    assert batch(()) == 1
