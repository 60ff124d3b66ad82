"""Sizes that are computed with: kernels of every kind take them as scalars, whatever tensors they are the dims of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from xdsl.ir import SSAValue

import dsc
from dsc.exchange import export_model
from dsc.ir import Graph, tensor
from tests.exchange.models import assert_close, run
from tests.passes.equations import Builder

Body = Callable[["Sizes"], SSAValue | list[SSAValue]]


class Sizes(Builder):
    """A model of x and p [2, q], with q a size of no other tensor."""

    @property
    def x(self) -> SSAValue:
        return self.graph.inputs[0]

    @property
    def q(self) -> SSAValue:
        return self.dim(self.graph.inputs[1], 1)

    def dim(self, value: SSAValue, axis: int) -> SSAValue:
        return self("Gather", self("Shape", value), np.int64(axis))

    def number(self, value: SSAValue) -> SSAValue:
        return self("Cast", value, to=1)

    def vector(self, value: SSAValue) -> SSAValue:
        return self("Unsqueeze", value, np.array([0]))


def _check(dims: Sequence[int | str], body: Body, sizes: Sequence[dict[str, int]], level: int) -> None:
    def type_(dims: Sequence[int | str]) -> object:
        names = [d if isinstance(d, str) else "" for d in dims]
        return tensor("float32", [-1 if isinstance(d, str) else d for d in dims], names)

    graph = Graph.build([("x", type_(dims)), ("p", type_((2, "q")))])  # type: ignore[list-item]
    results = body(Sizes(graph, np.random.default_rng(3)))
    graph.set_outputs([(f"y{i}", y) for i, y in enumerate(results if isinstance(results, list) else [results])])
    module = dsc.compile(export_model(graph), opt_level=level)
    random = np.random.default_rng(5)
    for given in sizes:
        feeds = {
            "x": random.standard_normal([given[d] if isinstance(d, str) else d for d in dims], np.float32),
            "p": np.ones((2, given["q"]), np.float32),
        }
        assert_close(list(module.run(feeds).values()), run(export_model(graph), feeds), 1e-4)


SIZES = ({"b": 2, "s": 5, "q": 3}, {"b": 1, "s": 1, "q": 6})

DATA: dict[str, tuple[Sequence[int | str], Body]] = {
    "range times size": (("b", "s"), lambda b: b("Mul", b("Range", 0, b.dim(b.x, 0), 1), b.dim(b.x, 1))),
    "range plus past": (("b", "s"), lambda b: b("Add", b("Range", 0, b.dim(b.x, 1), 1), b.q)),
    "scaled by a root": (("b", "s"), lambda b: b("Div", b.x, b("Sqrt", b.number(b.dim(b.x, 1))))),
    "scaled by a power": (("b", "s"), lambda b: b("Mul", b.x, b("Pow", b.number(b.q), np.float32(-0.5)))),
    "compared": (("b", "s"), lambda b: b("Less", b("Range", 0, b.dim(b.x, 1), 1), b("Sub", b.q, np.int64(2)))),
    "rows of a table": (
        ("b", "s", 8),
        lambda b: b("Add", b.x, b("Gather", b.c(16, 8), b("Add", b("Range", 0, b.dim(b.x, 1), 1), b.q))),
    ),
    "after a matmul": (("b", "s", 8), lambda b: b("Mul", b("MatMul", b.x, b.c(8, 20)), b.number(b.q))),
    "after a conv": (
        ("b", 4, 8, 8),
        lambda b: b("Div", b("Conv", b.x, b.c(8, 4, 3, 3), strides=[1, 1]), b.number(b.q)),
    ),
    "after a conv in its own terms": (
        ("b", 4, 8, 8),
        lambda b: b("Relu", b("Sub", b("Conv", b.x, b.c(8, 4, 3, 3)), b.number(b.dim(b.x, 0)))),
    ),
    "after a transposed conv": (
        ("b", 4, 5, 5),
        lambda b: b("Div", b("ConvTranspose", b.x, b.c(4, 8, 3, 3), strides=[2, 2]), b.number(b.q)),
    ),
    "before a softmax": (("b", "s", 8), lambda b: b("Softmax", b("Div", b.x, b.number(b.q)))),
    "after a transpose": (("b", "s", 8), lambda b: b("Div", b("Transpose", b.x, perm=[2, 0, 1]), b.number(b.q))),
    "after a norm": (("b", "s", 8), lambda b: b("Mul", b("LayerNormalization", b.x, b.c(8), b.c(8)), b.number(b.q))),
    "after a reduction": (("b", "s", 8), lambda b: b("Div", b("ReduceSum", b.x, np.array([1])), b.number(b.q))),
    "in attention": (
        ("b", 2, "s", 16),
        lambda b: b(
            "MatMul",
            b("Softmax", b("Div", b("MatMul", b.x, b("Transpose", b.x, perm=[0, 1, 3, 2])), b.number(b.q))),
            b.x,
        ),
    ),
}


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("name", DATA)
def test_sizes_are_scalars_of_kernels(name: str, level: int) -> None:
    dims, body = DATA[name]
    _check(dims, body, SIZES, level)


LIMITS: dict[str, tuple[Callable[[Sizes], SSAValue], Callable[[Sizes], SSAValue | np.ndarray]]] = {
    "[-q:]": (lambda b: b("Neg", b.q), lambda b: np.array([2**62])),
    "[-s:]": (lambda b: b("Neg", b.dim(b.x, 1)), lambda b: np.array([2**62])),
    "[:-q]": (lambda b: b("Sub", b.q, b.q), lambda b: b.vector(b("Neg", b.q))),
    "[q-2:]": (lambda b: b("Sub", b.q, np.int64(2)), lambda b: np.array([2**62])),
    "[s-q:-1]": (lambda b: b("Sub", b.dim(b.x, 1), b.q), lambda b: np.array([-1])),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_of_slices_may_turn_out_negative(name: str) -> None:
    start, end = LIMITS[name]

    def body(b: Sizes) -> SSAValue:
        return b("Slice", b.x, b.vector(start(b)), end(b), np.array([1]))

    _check(("b", "s"), body, [{"b": 2, "s": 5, "q": q} for q in (0, 1, 3, 5, 9)], 2)


def _differences(b: Sizes) -> list[SSAValue]:
    """Of integers on either side of 0; the Where is chosen at run time."""
    low = b("Sub", b.vector(b.q), np.array([5]))
    found = [
        low,
        b("Neg", low),
        b("Abs", low),
        b("Div", low, np.array([2])),
        b("Div", np.array([-7]), b("Add", b.vector(b.q), np.array([1]))),
        b("Mod", low, np.array([3])),
        b("Mod", low, np.array([3]), fmod=1),
        b("Max", low, np.array([0])),
        b("Min", low, np.array([0])),
        b("Cast", b("Equal", low, np.array([-1])), to=7),
        b("Where", b("Less", low, np.array([0])), low, np.array([99])),
    ]
    return [b("Concat", *found, axis=0), b("Mul", b.x, b("Cast", low, to=1))]


def _ranges(b: Sizes) -> list[SSAValue]:
    s, low = b.dim(b.x, 1), b("Sub", b.q, np.int64(5))
    return [
        b("Range", low, s, 2),
        b("Range", s, low, -3),
        b("Range", 0, s, b("Add", b.q, np.int64(1))),
        b("Range", s, 0, b("Sub", np.int64(-1), b.q)),
    ]


def _made(b: Sizes) -> list[SSAValue]:
    """Padded, cropped, repeated and filled by sizes."""
    one, zero = np.array([1]), np.array([0])
    low = b("Sub", b.vector(b.q), np.array([3]))
    pads = b("Concat", zero, low, one, b.vector(b.q), axis=0)
    return [
        b("Pad", b.x, pads),
        b("Tile", b.x, b("Concat", one, b.vector(b.q), axis=0)),
        b("Expand", b("Unsqueeze", b.x, zero), b("Concat", b.vector(b.q), one, one, axis=0)),
        b("ConstantOfShape", b("Concat", b.vector(b.q), b("Add", low, np.array([4])), axis=0)),
        b("Where", b("Less", low, zero), b.x, b("Neg", b.x)),
        b("Gather", b.x, b("Sub", b.dim(b.x, 1), np.int64(1)), axis=1),
        b("Gather", b.x, b("Neg", b.dim(b.x, 1)), axis=1),
        b("OneHot", np.array([0, 2, -1]), b("Add", b.q, np.int64(2)), np.float32([0, 1])),
    ]


@pytest.mark.parametrize("body", [_differences, _ranges, _made])
@pytest.mark.parametrize("level", [0, 2])
def test_integers_that_may_be_negative(body: Body, level: int) -> None:
    _check(("b", "s"), body, [{"b": 2, "s": 7, "q": q} for q in (1, 3, 4, 8)], level)
