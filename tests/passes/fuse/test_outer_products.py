"""Outer products in the epilogue of a product: which of them are taken into its region."""

from __future__ import annotations

import pytest

from dsc.ir import Graph
from dsc.passes.fuse import Fuse
from tests.passes.net import Net, check_same, summary


def product(row: tuple[int, ...] = (5,), column: tuple[int, ...] = (4, 1), read_twice: bool = False) -> Graph:
    """x @ w - c r, c computed of `column` and r constant of `row` elements."""
    net = Net(x=(4, 3), c=column)
    x, c = net.inputs()
    outer = net.Mul(net.Softmax(c, axis=0), net.random(*row))
    y = net.Sub(net.MatMul(x, net.random(3, 5)), outer)
    return net.done(y, *([outer] if read_twice else []))


def fused(graph: Graph) -> list[str]:
    before = graph.clone()
    Fuse().run(graph)
    check_same(before, graph)
    return summary(graph)


def test_an_outer_product_belongs_to_its_reader() -> None:
    assert fused(product()) == ["softmax(Softmax)", "matmul(Mul MatMul Sub)"]


def test_of_a_convolution() -> None:
    net = Net(x=(1, 4, 6, 5), c=(1, 1, 6, 5))
    x, c = net.inputs()
    outer = net.Mul(net.Softmax(c), net.random(8, 1, 1))
    graph = net.done(net.Sub(net.Conv(x, net.random(8, 4, 1, 1)), outer))
    assert fused(graph) == ["softmax(Softmax)", "conv(Mul Conv Sub)"]


STAYS = {
    "what others read as well": product(read_twice=True),
    "what is as large as the result": product(column=(4, 5)),
}


@pytest.mark.parametrize("name", STAYS)
def test_what_stays_outside(name: str) -> None:
    graph = STAYS[name].clone()
    assert not any("matmul(Mul" in region for region in fused(graph))
