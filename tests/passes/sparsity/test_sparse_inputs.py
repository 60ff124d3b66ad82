"""Products of few rows after what makes zeros are marked; others are not, and the reason is told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from xdsl.ir import SSAValue

from dsc.errors import UsageError
from dsc.ir import Graph, expected_zeros
from dsc.passes import Pipeline
from dsc.passes.base import PassRecord
from dsc.pipeline import compile_model
from tests.passes.net import Net, feeds, run

Activation = Callable[[Net, SSAValue], SSAValue]


def network(activation: Activation, rows: int | str = 1, weight: np.ndarray | None = None, depth: int = 64) -> Graph:
    net = Net(x=(rows, 32))
    hidden = net.Add(net.MatMul(net.inputs()[0], net.random(32, depth)), net.random(depth))
    return net.done(net.MatMul(activation(net, hidden), net.random(depth, depth + 16) if weight is None else weight))


def marked(graph: Graph, text: str = "sparse-inputs") -> tuple[list[float], PassRecord]:
    record = Pipeline.parse(f"canonicalize,fuse,{text}").run(graph)[-1]
    return [share for op in graph.ops() if (share := expected_zeros(op))], record


def masked(net: Net, x: SSAValue) -> SSAValue:
    """All but the best: x * (x >= 1)."""
    return net.Mul(x, net.Cast(net.GreaterOrEqual(x, 1.0), to=1))


MADE: dict[str, tuple[Activation, float]] = {
    "relu": (lambda net, x: net.Relu(x), 0.5),
    "clip": (lambda net, x: net.Clip(x, 0.0, 6.0), 0.5),
    "hard swish": (lambda net, x: net.HardSwish(x), 0.1),
    "squared": (lambda net, x: net.Mul(net.Relu(x), net.Relu(x)), 0.5),
    "mask": (masked, 0.5),
    "chosen": (lambda net, x: net.Where(net.Greater(x, 1.0), x, 0.0), 0.5),
    "reshaped": (lambda net, x: net.Reshape(net.Relu(net.Reshape(x, np.array([4, -1]))), np.array([1, 64])), 0.5),
}


@pytest.mark.parametrize("name", MADE)
def test_products_after_zeros_say_so(name: str) -> None:
    activation, share = MADE[name]
    found, record = marked(network(activation))
    assert found == [pytest.approx(share, abs=1 / 256)]
    assert record.fired == {"x @ w => sparse(x) @ w": 1}


def infinite() -> np.ndarray:
    weight = np.ones((64, 80), np.float32)
    weight[3, 5] = np.inf
    return weight


REFUSED: dict[str, Callable[[], Graph]] = {
    "nothing says that its inputs have zeros": lambda: network(lambda net, x: net.Gelu(x)),
    "more than 4 rows": lambda: network(lambda net, x: net.Relu(x), rows=5),
    "a number of rows that is not known": lambda: network(lambda net, x: net.Relu(x), rows="n"),
    "0 x w is no 0: a weight is not finite": lambda: network(lambda net, x: net.Relu(x), weight=infinite()),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_others_do_not(reason: str) -> None:
    found, record = marked(REFUSED[reason]())
    assert not found
    assert reason in {miss.reason for miss in record.near_misses()}


def test_a_product_of_computed_factors_is_refused() -> None:
    net = Net(x=(1, 64), y=(64, 64))
    x, y = net.inputs()
    found, record = marked(net.done(net.MatMul(net.Relu(x), y)))
    assert not found
    assert [miss.reason for miss in record.near_misses()] == ["both factors are computed"]


def test_the_number_of_rows_is_an_option() -> None:
    graph = network(lambda net, x: net.Relu(x), rows=4)
    assert not marked(graph, "sparse-inputs{rows=2}")[0]
    with pytest.raises(UsageError, match="rows is 1 or more"):
        marked(graph, "sparse-inputs{rows=0}")


def test_a_compiled_network_is_that_of_onnx_runtime() -> None:
    graph = network(lambda net, x: net.Relu(x), depth=1500)
    arrays = feeds(graph)
    expected = run(graph, arrays)
    compiled = compile_model(graph, target="native").model
    assert "cpu.sparse_inputs" in {kernel["kernel"] for kernel in compiled.manifest.kernels}
    found = compiled.load(1).run(arrays)
    np.testing.assert_allclose(found["out0"], expected[0], rtol=1e-4, atol=1e-4 * np.abs(expected[0]).max())


def test_bits_do_not_depend_on_the_marking() -> None:
    graph = network(lambda net, x: net.Relu(x), depth=1500)
    arrays = feeds(graph)
    with_it, without = (
        compile_model(graph, target="native", passes=f"canonicalize,fuse{more}").model
        for more in (",sparse-inputs", "")
    )
    np.testing.assert_array_equal(with_it.load(1).run(arrays)["out0"], without.load(1).run(arrays)["out0"])
