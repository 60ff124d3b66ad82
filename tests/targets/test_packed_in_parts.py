"""A weight that a kernel takes as two arrays: the values and the indices of a sparse one, told by its type."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from tvm import te, tirx
from tvm.ir import Expr
from xdsl.dialects.builtin import TensorType, f32

import dsc
from dsc.check.trace import Trace, WrongKernel
from dsc.codegen import build, recorded_calls
from dsc.ir import Graph, WeightOp, onnx, tensor
from dsc.ir.types import SparseAttr
from dsc.lower.te import placeholders
from dsc.lower.workload import Workload
from dsc.sparsity import Pattern
from dsc.targets import ArrayType, Implementation, Refusal, target
from dsc.targets.cpu.machine import Cpu

K, N = 32, 24


@dataclass(frozen=True)
class TwoOfFour:
    """``[k, n]``, of whose elements two of four along k are not 0, to values ``[n, k / 2]`` and their places in k."""

    def arrays(self, weight: ArrayType) -> tuple[ArrayType, ...]:
        k, n = weight.shape
        return ArrayType((n, k // 2), weight.dtype), ArrayType((n, k // 2), "int32")

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        groups = array.T.reshape(array.shape[1], -1, 4)
        kept = np.sort(np.argsort(groups == 0, axis=-1, kind="stable")[..., :2], axis=-1)
        values = np.take_along_axis(groups, kept, axis=-1).reshape(array.shape[1], -1)
        places = kept + 4 * np.arange(groups.shape[1])[:, None]
        return np.ascontiguousarray(values), places.reshape(array.shape[1], -1).astype(np.int32)


@dataclass(frozen=True)
class Only:
    """The one point."""


@dataclass(frozen=True, eq=False)
class SparseSpace:
    workload: Workload

    def points(self) -> tuple[Only]:
        return (Only(),)

    def estimate(self, point: Only) -> float:
        return 1e-12

    def build(self, point: Only) -> Implementation:
        x, w = placeholders(self.workload)
        (m, k), n = x.shape, w.shape[1]
        values = te.placeholder((n, k // 2), "float32", name="values")
        places = te.placeholder((n, k // 2), "int32", name="places")
        j = te.reduce_axis((0, k // 2), "j")

        def element(r: tirx.Var, c: tirx.Var) -> Expr:
            place = tirx.max(0, tirx.min(places[c, j], k - 1))
            return te.sum(x[r, place] * values[c, j], axis=j)

        y = te.compute((m, n), element)
        return Implementation(te.create_prim_func([x, values, places, y]), {1: TwoOfFour()})


@dataclass(frozen=True)
class Sparse:
    name: str = "test.sparse"

    def match(self, workload: Workload, machine: Cpu) -> SparseSpace | Refusal:
        if workload.kind != "onnx.MatMul" or workload.operands[1].encoding != SparseAttr.of(
            Pattern.parse("2:4"), 1, 0.5
        ):
            return Refusal("no product with a weight that is 2:4")
        return SparseSpace(workload)


def product(pattern: str | None) -> tuple[Graph, np.ndarray]:
    """x @ w, where two of four elements of w's columns are 0; and what its type says of that."""
    random = np.random.default_rng(0)
    groups = random.standard_normal((N, K // 4, 4)).astype(np.float32)
    for group in groups.reshape(-1, 4):
        group[random.permutation(4)[:2]] = 0
    data = np.ascontiguousarray(groups.reshape(N, K).T)
    graph = Graph.build([("x", tensor("float32", (5, K)))])
    encoding = {} if pattern is None else {"encoding": SparseAttr.of(Pattern.parse(pattern), 1, 0.5)}
    weight = WeightOp(graph.weights.add(data, "w"), TensorType(f32, (K, N), **encoding))
    multiplied = onnx.MatMul.make(graph.inputs[0], weight.out)
    graph.body.add_ops([weight, multiplied])
    graph.set_outputs([("y", multiplied.out)])
    return graph, data


SPARSE = replace(target("x86"), added=(Sparse(),))
X = np.random.default_rng(1).standard_normal((5, K)).astype(np.float32)


def test_values_and_indices_are_two_parameters(tmp_path: Path) -> None:
    graph, data = product("2:4")
    model = build(graph, SPARSE)
    assert [choice.kernel for choice in model.choices] == ["test.sparse"]
    assert [(w.dtype, w.shape) for w in model.weights] == [("float32", (N, K // 2)), ("int32", (N, K // 2))]
    model.write(tmp_path / "sparse.dsc")
    found = dsc.load(tmp_path / "sparse.dsc").run({"x": X})["y"]
    np.testing.assert_allclose(found, X @ data, rtol=1e-5, atol=1e-5)


def test_the_encoding_is_in_the_key() -> None:
    graphs = [product(pattern)[0] for pattern in ("2:4", "1:4", None)]
    models = [build(graph, SPARSE) for graph in graphs]
    assert len({model.choices[0].workload for model in models}) == 3
    assert [model.choices[0].kernel for model in models[1:]] == ["cpu.gemm"] * 2
    refusals = dict(models[2].choices[0].refusals)
    assert refusals["test.sparse"] == "no product with a weight that is 2:4"


def test_one_weight_packed_twice_is_kept_once() -> None:
    """Two calls of one kernel with the same weight share its two arrays."""
    graph, data = product("2:4")
    weight, first = graph.ops()
    second = onnx.MatMul.make(graph.inputs[0], weight.results[0])
    total = onnx.Add.make(first.results[0], second.out)
    graph.body.add_ops([second, total])
    graph.set_outputs([("y", total.out)])
    model = build(graph, SPARSE)
    assert len(model.weights) == 2
    np.testing.assert_allclose(model.load(1).run({"x": X})["y"], 2 * (X @ data), rtol=1e-5, atol=1e-5)


def test_a_fault_in_one_of_them_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """`dsc verify` compares every array of a packed weight with a fresh one."""
    graph, _ = product("2:4")
    model, apply = build(graph, SPARSE), TwoOfFour.apply

    def shifted(self: TwoOfFour, array: np.ndarray) -> tuple[np.ndarray, ...]:
        values, places = apply(self, array)
        return values, (places + 1) % K

    monkeypatch.setattr(TwoOfFour, "apply", shifted)
    module = model.load(1)
    monkeypatch.undo()
    calls = recorded_calls(graph, SPARSE, module.manifest.kernels)
    trace = Trace(graph, module, calls, {"x": X}, lambda done, total: None)
    trace.run()
    assert isinstance(trace.found, WrongKernel)
    assert not trace.found.packed
