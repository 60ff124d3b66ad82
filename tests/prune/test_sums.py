"""Sums of what layers read and give, against float64."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from dsc.prune.problem import Problem
from dsc.prune.prune import prune
from dsc.prune.sums import Sums, parts_of
from dsc.quantize.layers import find_layers, weight_of
from dsc.quantize.matrices import Matrices
from dsc.quantize.network import Network
from dsc.quantize.prepare import prepare
from dsc.sparsity import Pattern
from tests.compiled import TextModel
from tests.prune.test_prune import run
from tests.quantize.nets import weight

NET = TextModel(
    """(float[n,24] x) => (float[n,10] y) {
        [one] a = Gemm(x, w, b)
        [two] y = Gemm(a, v)
    }""",
    {"w": weight(24, 40), "b": weight(40), "v": weight(40, 10)},
    17,
)
RNG = np.random.default_rng()


def hardly_varying(spread: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """What a layer reads in the float model and in the pruned one: about means that are larger than what varies."""
    mean = 3 * RNG.standard_normal(24)
    mean[5] = 0
    floats = [mean + spread * RNG.standard_normal((50, 3)) @ RNG.standard_normal((3, 24)) for _ in range(3)]
    pairs = [(some, some + spread * RNG.standard_normal(some.shape) / 10) for some in floats]
    return [(one.astype(np.float32), other.astype(np.float32)) for one, other in pairs]


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("spread", [1.0, 1e-4])
def test_sums_are_those_of_float64(centered: bool, spread: float) -> None:
    network = Network(prepare(NET.proto(), 0))
    layer = find_layers(network)[0]
    array = weight_of(network, layer)
    sums, pairs = Sums(Matrices.of(network, layer), array), hardly_varying(spread)
    for pair in pairs:
        sums.add([pair])
    (found,) = sums.problems(centered=centered)
    y, x = (np.concatenate([pair[side] for pair in pairs]).astype(np.float64) for side in (0, 1))
    wanted = y @ array.astype(np.float64)
    shift = wanted.mean(axis=0) - x.mean(axis=0) @ array
    np.testing.assert_allclose(sums.shift([array.T]), shift, atol=1e-5 * np.abs(wanted).max())
    if centered:
        x, wanted = x - x.mean(axis=0), wanted - wanted.mean(axis=0)
    exact = Problem.of(array.T, x.T @ x, wanted.T @ x)
    scale = np.abs(exact.hessian).max()
    np.testing.assert_allclose(found.hessian, exact.hessian, atol=1e-5 * scale)  # float32's, of what varies
    np.testing.assert_allclose(found.target, exact.target, atol=1e-4 * np.abs(exact.target).max())
    assert np.linalg.eigvalsh(found.hessian).min() > 0


@pytest.mark.parametrize("centered", [True, False])
def test_parts_of_a_depth_are_layers_of_their_own(centered: bool) -> None:
    """Each with its inputs and what they give; the shift is that of the whole."""
    network = Network(prepare(NET.proto(), 0))
    layer = find_layers(network)[0]
    array, parts = weight_of(network, layer), [slice(0, 9), slice(9, 24)]
    split, whole = (Sums(Matrices.of(network, layer), array, some) for some in (parts, None))
    pairs = hardly_varying(1.0)
    for sums in (split, whole):
        sums.add(pairs)
    for part, found in zip(parts, split.problems(centered=centered), strict=True):
        y, x = (np.concatenate([pair[side] for pair in pairs]).astype(np.float64)[:, part] for side in (0, 1))
        wanted = y @ array[part].astype(np.float64)
        if centered:
            x, wanted = x - x.mean(axis=0), wanted - wanted.mean(axis=0)
        exact = Problem.of(array[part].T, x.T @ x, wanted.T @ x)
        np.testing.assert_allclose(found.hessian, exact.hessian, atol=1e-5 * np.abs(exact.hessian).max())
        np.testing.assert_allclose(found.target, exact.target, atol=1e-4 * np.abs(exact.target).max())
    np.testing.assert_allclose(split.shift([array.T]), whole.shift([array.T]), atol=1e-4)


def test_parts_are_whole_steps() -> None:
    assert parts_of(8192, 4) == [slice(0, 8192)]
    assert parts_of(25088, 4) == [slice(first, first + 6272) for first in range(0, 25088, 6272)]
    assert parts_of(8193, 4) == [slice(0, 4100), slice(4100, 8193)]


@pytest.mark.parametrize("pattern", ["unstructured", "4x1", "1x4", "2:4"])
@pytest.mark.parametrize("method", ["wanda", "obs", "admm"])
def test_deep_layers_are_pruned_in_parts(pattern: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a layer of 25,088 inputs is: patterns are not cut, and second order is better than magnitudes."""
    monkeypatch.setattr("dsc.prune.sums.DEEPEST", 10)
    known, mixing = Pattern.parse(pattern), RNG.standard_normal((6, 24))
    samples = [{"x": (RNG.standard_normal((16, 6)) @ mixing).astype(np.float32)} for _ in range(12)]
    share = None if known.limit else 0.5
    found = prune(NET.proto(), samples, sparsity=share, pattern=pattern, method=method)
    plain = prune(NET.proto(), sparsity=share, pattern=pattern, method="magnitude")
    assert found.report.sparsity == pytest.approx(0.5, abs=0.06)
    for tensor in found.model.graph.initializer:
        matrix = onnx.numpy_helper.to_array(tensor).T
        if matrix.ndim == 2:
            assert known.holds(matrix)
            blocks = known.spread(known.occupied(matrix), matrix.shape)
            assert abs(np.count_nonzero(blocks) - np.count_nonzero(matrix)) <= (2 if not known.limit else matrix.size)
    errors = [
        sum(np.square(run(model, feed) - run(NET.proto(), feed)).sum() for feed in samples)
        for model in (found.model, plain.model)
    ]
    assert method == "wanda" or errors[0] < errors[1]


@pytest.mark.parametrize("method", ["obs", "admm"])
def test_inputs_that_hardly_vary_are_pruned(method: str) -> None:
    """The second layer reads a hundred-thousandth of the bias of the first."""
    samples = [{"x": (1e-5 * RNG.standard_normal((16, 24))).astype(np.float32)} for _ in range(8)]
    pruned = prune(NET.proto(), samples, sparsity=0.5, method=method)
    assert pruned.report.sparsity == pytest.approx(0.5, abs=0.01)
    assert pruned.report.snr is not None
    assert pruned.report.snr > 60  # biases make up for all but what varies


def test_a_layer_that_reads_what_it_does_in_float_wants_its_own_weight() -> None:
    network = Network(prepare(NET.proto(), 0))
    layer = find_layers(network)[0]
    array = weight_of(network, layer)
    sums = Sums(Matrices.of(network, layer), array)
    sums.add([(some, some) for some, _ in hardly_varying(1.0)])
    sums.add([(np.zeros((0, 24), np.float32),) * 2])  # a sample without rows says nothing
    (found,), (solved,) = sums.problems(centered=True, as_in_float=True), sums.problems(centered=True)
    np.testing.assert_array_equal(found.target, array.T)
    np.testing.assert_array_equal(found.hessian, solved.hessian)
    np.testing.assert_allclose(solved.target, array.T, atol=1e-3)
