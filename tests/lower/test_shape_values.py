"""Shape arithmetic of dynamic models, evaluated at compile time."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import tirx
from xdsl.dialects.test import TestOp as AnyOp
from xdsl.ir import SSAValue

from dsc.ir import OnnxOp, onnx, tensor
from dsc.lower import UnsupportedOpError, shape_values
from dsc.lower.exprs import Scalar, same
from dsc.lower.registry import operands_of
from dsc.lower.shape_array import LIMIT

N, S = tirx.Var("n", "int64"), tirx.Var("s", "int64")


class Evaluator:
    """A model's input x [n, s, 384] and values computed from it."""

    def __init__(self) -> None:
        self.x = AnyOp(result_types=[tensor("float32", [-1, -1, 384])]).results[0]
        self.known: dict[SSAValue, np.ndarray] = {}

    def __call__(self, op: OnnxOp) -> SSAValue:
        operands = operands_of(op)
        shapes: list[list[Scalar] | None] = [[N, S, 384] if v is self.x else None for v in operands]
        values = shape_values.evaluate(op, [None if v is None else self.known.get(v) for v in operands], shapes)
        assert values is not None, f"{op.name} was not evaluated"
        self.known[op.out] = values
        return op.out

    def constant(self, array: object) -> SSAValue:
        return self(onnx.Constant.make(value=np.asarray(array)))

    def shape(self) -> SSAValue:
        return self(onnx.Shape.make(self.x))

    def dim(self, index: int) -> SSAValue:
        return self(onnx.Gather.make(self.shape(), self.constant([index])))


@pytest.fixture
def ev() -> Evaluator:
    return Evaluator()


def test_heads_of_attention(ev: Evaluator) -> None:
    """Reshape's target [n, s, 12, 384 / 12] as exporters write it."""
    heads = ev.constant([12])
    size = ev(onnx.Div.make(ev.dim(2), heads))
    target = ev(onnx.Concat.make(ev.dim(0), ev.dim(1), heads, size, axis=0))
    n, s, *rest = ev.known[target]
    assert same(n, N)
    assert same(s, S)
    assert rest == [12, 32]


def test_flattened_rows_and_scalars(ev: Evaluator) -> None:
    rows = ev(onnx.Mul.make(ev.dim(0), ev.dim(1)))
    scalar = ev(onnx.Squeeze.make(rows, ev.constant([0])))
    assert ev.known[scalar].shape == ()
    assert same(ev.known[scalar].item(), N * S)
    assert same(ev.known[ev(onnx.ReduceProd.make(ev.shape(), keepdims=0))].item(), N * S * 384)
    assert same(ev.known[ev(onnx.Size.make(ev.x))].item(), N * S * 384)


def test_doubled_sizes_through_floats_stay_integers(ev: Evaluator) -> None:
    """cast(floor(cast(s, float) * 2.0), int64), as exporters write the sizes of Resize."""
    as_float = ev(onnx.Cast.make(ev.dim(1), to=1))
    doubled = ev(onnx.Floor.make(ev(onnx.Mul.make(as_float, ev.constant(np.float32(2))))))
    halved = ev(onnx.Floor.make(ev(onnx.Div.make(as_float, ev.constant(np.float32(2))))))
    assert same(ev.known[ev(onnx.Cast.make(doubled, to=7))][0], S * 2)
    assert same(ev.known[ev(onnx.Cast.make(halved, to=7))][0], S // 2)


def test_expand_guards_against_minus_one(ev: Evaluator) -> None:
    """where(shape == -1, 1, shape), the guard that torch writes around Expand, is the shape."""
    minus = ev.constant([-1, -1, -1])
    guarded = ev(onnx.Where.make(ev(onnx.Equal.make(ev.shape(), minus)), ev.constant([1, 1, 1]), ev.shape()))
    assert all(same(a, b) for a, b in zip(ev.known[guarded], [N, S, 384], strict=True))


def test_comparisons_that_sizes_decide(ev: Evaluator) -> None:
    more = ev(onnx.Add.make(ev.dim(1), ev.constant([1])))
    assert list(ev.known[ev(onnx.Greater.make(more, ev.dim(1)))]) == [True]
    assert list(ev.known[ev(onnx.Not.make(ev(onnx.LessOrEqual.make(more, ev.dim(1)))))]) == [True]
    open_ = ev(onnx.Where.make(ev(onnx.Less.make(ev.dim(0), ev.dim(1))), ev.dim(0), ev.dim(1)))
    assert "Select" in str(ev.known[open_][0])


def test_slices_of_a_shape(ev: Evaluator) -> None:
    last = ev(onnx.Slice.make(ev.shape(), ev.constant([-1]), ev.constant([2**62]), ev.constant([0])))
    assert list(ev.known[last]) == [384]
    back = ev(onnx.Slice.make(ev.shape(), ev.constant([2]), ev.constant([-9]), ev.constant([0]), ev.constant([-1])))
    assert [v if isinstance(v, int) else v.name for v in ev.known[back]] == [384, "s", "n"]


def test_numbers_follow_onnx(ev: Evaluator) -> None:
    assert list(ev.known[ev(onnx.Div.make(ev.constant([-7, 7]), ev.constant([2, -2])))]) == [-3, -3]
    assert list(ev.known[ev(onnx.Range.make(*map(ev.constant, (5, 0, -2))))]) == [5, 3, 1]
    assert list(ev.known[ev(onnx.Max.make(ev.constant([1, 9]), ev.constant([4])))]) == [4, 9]


def test_data_is_not_evaluated(ev: Evaluator) -> None:
    op = onnx.Relu.make(ev.x)
    assert shape_values.evaluate(op, [None], [[N, S, 384]]) is None
    large = onnx.Constant.make(value=np.zeros(LIMIT + 1))
    assert shape_values.evaluate(large, [], []) is None


def test_operands_that_do_not_fit_are_refused() -> None:
    pair, triple = np.array([1, 2], object), np.array([1, 2, 3], object)
    total = onnx.Add.make(*(onnx.Constant.make(value=np.array(v.tolist())).out for v in (pair, pair)))
    with pytest.raises(UnsupportedOpError, match=r"onnx\.Add: its operands do not fit"):
        shape_values.evaluate(total, [pair, triple], [[2], [3]])


def test_a_division_by_zero_is_left_to_the_kernel() -> None:
    two, zero = (np.array([v], object) for v in (2, 0))
    division = onnx.Div.make(*(onnx.Constant.make(value=np.array([v])).out for v in (2, 0)))
    assert shape_values.evaluate(division, [two, zero], [[1], [1]]) is None


@pytest.mark.parametrize(
    ("value", "dtype", "expected"), [(300, np.uint8, 44), (-1, np.uint64, 2**64 - 1), (2.9, np.int32, 2)]
)
def test_a_cast_wraps(value: float, dtype: type, expected: int) -> None:
    source = onnx.Constant.make(value=np.array([value])).out
    cast = onnx.Cast.make(source, result_types=[tensor(dtype, [1])], to=0)
    found = shape_values.evaluate(cast, [np.array([value], object)], [[1]])
    assert found is not None
    assert found.tolist() == [expected]
