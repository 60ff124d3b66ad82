"""What sparse kernels are measured on: as many entries as the type of the weight says, or a time says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.codegen.selection import Failures, candidates
from dsc.ir import Graph, SparseAttr, onnx, tensor
from dsc.ir.types import with_encoding
from dsc.lower.workload import Workload
from dsc.sparsity import Pattern
from dsc.targets import target
from dsc.targets.cpu.sparse.entries import Entries
from dsc.tune.sparse_weights import sparse_arguments

RANDOM = np.random.default_rng(4)


def workload(op: str, pattern: str, density: float) -> Workload:
    """A product of depth 96 or a convolution of 32 channels, by a weight whose type has a pattern."""
    shape, x = ((96, 80), (33, 96)) if op == "MatMul" else ((48, 32, 3, 3), (1, 32, 9, 9))
    graph = Graph.build([("x", tensor("float32", x))])
    weight = graph.make_constant(RANDOM.standard_normal(shape).astype(np.float32))
    encoding = SparseAttr.of(Pattern.parse(pattern), 1 if op == "MatMul" else 0, density)
    weight.results[0]._type = with_encoding(weight.results[0].type, encoding)
    made = onnx.OPS[op].make(graph.inputs[0], weight.results[0])
    graph.body.add_ops([weight, made])
    graph.set_outputs([("y", made.results[0])])
    return Workload.of(made)


@pytest.mark.parametrize("density", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("pattern", ["4x1", "unstructured", "16x1"])
@pytest.mark.parametrize(
    ("op", "kernel", "depth"), [("MatMul", "cpu.sparse_matmul", 96), ("Conv", "cpu.conv2d.sparse", 288)]
)
def test_entries_are_as_many_as_the_type_says(op: str, kernel: str, depth: int, pattern: str, density: float) -> None:
    given = workload(op, pattern, density)
    found, _ = candidates(given, target("x86:znver4"), Failures())
    built = next(candidate for candidate in found if candidate.kernel.name == kernel).build()
    (packing,) = built.packings.values()
    assert isinstance(packing, Entries)
    arguments = sparse_arguments(given, built, RANDOM)
    assert sorted(arguments) == [1, 2, 3]  # behind x
    starts, offsets, values = (arguments[position] for position in (1, 2, 3))
    params = [built.func.params[position] for position in (1, 2, 3)]
    assert [array.shape for array in (starts, offsets, values)] == [tuple(map(int, p.shape)) for p in params]
    outputs = 80 if op == "MatMul" else 48
    assert np.count_nonzero(values) == pytest.approx(density * outputs * depth, rel=0.02)
    assert starts[0] == 0
    assert 0.95 * packing.steps <= starts[-1] <= packing.steps


def test_dense_kernels_and_weights_get_none() -> None:
    given = workload("MatMul", "4x1", 0.5)
    found, _ = candidates(given, target("x86:znver4"), Failures())
    dense = next(candidate for candidate in found if candidate.kernel.name == "cpu.generic").build()
    assert sparse_arguments(given, dense, RANDOM) == {}
