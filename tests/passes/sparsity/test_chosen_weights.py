"""The Gather of experts' weights goes into the region of the product that reads them; or why not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dsc.errors import UsageError
from dsc.ir import Graph
from dsc.ir import onnx as operators
from dsc.passes import Pipeline
from dsc.pipeline import compile_model
from tests.passes.net import Net, feeds, run, summary

TEXT = "canonicalize,fuse,chosen-weights"


def mixture(tokens: int | str = 3, *, transposed: bool = False, rows: int = 1, twice: bool = False) -> Graph:
    """Gate, TopK, and one layer of the chosen experts."""
    net = Net(x=(tokens, 32))
    (x,) = net.inputs()
    best = net.op(operators.TopK, net.Softmax(net.MatMul(x, net.random(32, 6))), np.array([2])).results
    weight = net.random(6, 40, 32) if transposed else net.random(6, 32, 40)
    taken = net.Gather(weight, best[1], axis=0)
    taken = net.Transpose(taken, perm=[0, 1, 3, 2]) if transposed else taken
    data = net.Unsqueeze(x, np.array([1, 2]))
    data = net.Concat(*[data] * rows, axis=2) if rows > 1 else data
    made = net.Relu(net.MatMul(data, taken))
    weighted = net.Mul(made, net.Unsqueeze(best[0], np.array([2, 3])))
    total = net.ReduceSum(weighted, np.array([1]), keepdims=0)
    return net.done(total, *([net.Relu(taken)] if twice else []))


@pytest.mark.parametrize("transposed", [False, True])
def test_the_gather_joins_the_region(transposed: bool) -> None:
    graph = mixture(transposed=transposed)
    record = Pipeline.parse(TEXT).run(graph)[-1]
    assert record.fired == {"x @ gather(w, i) in one region": 1}
    found = summary(graph)
    assert "Gather" not in found
    assert any(each.startswith("matmul(Gather MatMul") for each in found)


REFUSED: dict[str, Callable[[], Graph]] = {
    "a matrix is chosen for several rows at once": lambda: mixture(rows=2),
    "the matrices are used elsewhere, too": lambda: mixture(twice=True),
    "sizes that are not known": lambda: mixture("n"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_it_stays_outside(reason: str) -> None:
    graph = REFUSED[reason]()
    record = Pipeline.parse(TEXT).run(graph)[-1]
    assert not record.changed
    assert {miss.reason for miss in record.near_misses()} == {reason}


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("tokens", [1, 17])
def test_a_compiled_mixture_is_that_of_onnx_runtime(tokens: int, transposed: bool) -> None:
    graph = mixture(tokens, transposed=transposed)
    arrays = feeds(graph)
    expected = run(graph, arrays)
    compiled = compile_model(graph, target="native").model
    assert "cpu.chosen_weights" in {kernel["kernel"] for kernel in compiled.manifest.kernels}
    np.testing.assert_allclose(compiled.load(1).run(arrays)["out0"], expected[0], rtol=1e-4, atol=1e-5)


def test_a_choice_that_there_is_not_is_an_error() -> None:
    net = Net(x=(3, 2, 1, 8), choice=(3, 2))
    x, choice = net.inputs()
    graph = net.done(net.MatMul(x, net.Gather(net.random(4, 8, 16), net.Cast(choice, to=7), axis=0)))
    compiled = compile_model(graph, target="native").model
    assert "cpu.chosen_weights" in {kernel["kernel"] for kernel in compiled.manifest.kernels}
    arrays = {"x": np.ones((3, 2, 1, 8), np.float32), "choice": np.full((3, 2), 4, np.float32)}
    with pytest.raises(UsageError, match="index 4 is outside of dim 0"):
        compiled.load(1).run(arrays)
