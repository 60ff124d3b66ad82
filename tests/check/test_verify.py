"""verify, random inputs and bisecting, with faults put in on purpose."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import pytest
from onnx import TensorProto

from dsc.check import (
    Reference,
    Stages,
    random_inputs,
    verify,
    verify_each,
)
from dsc.errors import UnsupportedModelError, UsageError, VerificationError
from dsc.exchange import export_model, import_model
from dsc.ir import Graph
from dsc.passes.base import PassRecord


def embedding_model() -> onnx.ModelProto:
    """ids -> Gather of 11 rows -> MatMul -> Relu, times a mask."""
    random = np.random.default_rng(5)
    weights = [
        onnx.numpy_helper.from_array(random.standard_normal((11, 8)).astype(np.float32), "table"),
        onnx.numpy_helper.from_array(random.standard_normal((8, 16)).astype(np.float32), "w"),
    ]
    make = onnx.helper.make_node
    nodes = [
        make("Gather", ["table", "ids"], ["rows"], name="/lookup"),
        make("MatMul", ["rows", "w"], ["product"], name="/dense"),
        make("Relu", ["product"], ["active"], name="/relu"),
        make("Cast", ["mask"], ["weight"], name="/cast", to=TensorProto.FLOAT),
        make("Mul", ["active", "weight"], ["y"], name="/mask"),
    ]
    free = ["batch", "length"]
    inputs = [
        onnx.helper.make_tensor_value_info("ids", TensorProto.INT64, free),
        onnx.helper.make_tensor_value_info("mask", TensorProto.INT64, [*free, 1]),
    ]
    output = onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, [*free, 16])
    graph = onnx.helper.make_graph(nodes, "embedding", inputs, [output], weights)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def sabotaged(model: onnx.ModelProto, operator: str = "Relu", by: str = "Sigmoid") -> onnx.ModelProto:
    """The same model with the operators of one kind replaced by another."""
    wrong = onnx.ModelProto()
    wrong.CopyFrom(model)
    for node in (*wrong.graph.node, *(n for f in wrong.functions for n in f.node)):
        if node.op_type == operator:
            node.op_type = by
    return wrong


def test_random_inputs_fit_the_model() -> None:
    graph = import_model(embedding_model())
    inputs = random_inputs(graph, seed=1, sizes={"length": 300})
    assert inputs["ids"].shape == (2, 300)
    assert inputs["mask"].shape == (2, 300, 1)
    assert (inputs["ids"].min(), inputs["ids"].max()) == (0, 10)
    assert set(np.unique(inputs["mask"])) == {0, 1}
    again = random_inputs(graph, seed=1, sizes={"length": 300})
    np.testing.assert_array_equal(inputs["ids"], again["ids"])
    Reference(embedding_model()).run(inputs)


def test_verify_passes_on_the_model_itself() -> None:
    model = embedding_model()
    graph = import_model(model)
    samples = [random_inputs(graph, seed) for seed in range(3)]
    report = verify(model, Reference(export_model(graph)), samples)
    assert report.passed
    assert report.samples == 3
    assert [error.name for error in report.outputs] == ["y"]
    assert str(report).startswith("equal to ONNX Runtime on 3 sample(s)")
    assert report.to_json()["passed"] is True


def test_verify_keeps_the_worst_sample() -> None:
    model = embedding_model()

    class Sometimes:
        """Wrong on the second sample only."""

        calls = 0

        def run(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
            self.calls += 1
            outputs = Reference(model).run(inputs)
            return {"y": outputs["y"] + np.float32(self.calls == 2)}

    graph = import_model(model)
    report = verify(model, Sometimes(), [random_inputs(graph, seed) for seed in range(3)])
    assert not report.passed
    assert report.outputs[0].max_abs == pytest.approx(1, abs=1e-5)


def test_missing_output() -> None:
    class Empty:
        def run(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
            return {}

    model = embedding_model()
    report = verify(model, Empty(), [random_inputs(import_model(model))])
    assert "the module has no such output" in str(report)


def test_reference_refuses_clearly() -> None:
    with pytest.raises(UnsupportedModelError, match="ONNX Runtime, the reference, refuses the model"):
        Reference(b"not a model")
    with pytest.raises(UsageError, match="does not run on these inputs"):
        Reference(embedding_model()).run({"ids": np.array([[99]]), "mask": np.array([[[1]]])})


def test_verify_each_names_the_pass() -> None:
    model = embedding_model()
    good, bad = import_model(model), import_model(sabotaged(model))
    inputs = random_inputs(good, seed=4)
    observe = verify_each(Stages(good, inputs, Reference(model).run(inputs)))

    class Named:
        """A pass that says only after its work what it did."""

        def apply(self, graph: Graph, record: PassRecord) -> None:
            """Nothing to find within it."""

        def __str__(self) -> str:
            return "fuse{max-epilogue=2}"

    record: PassRecord = None  # type: ignore[assignment]  # observers of results do not read it
    observe(0, Named(), good, record)  # type: ignore[arg-type]
    with pytest.raises(
        VerificationError, match=r"pass 2, fuse\{max-epilogue=2\}, changed the model's results\n  y, float32"
    ):
        observe(1, Named(), bad, record)  # type: ignore[arg-type]


def test_what_the_optimizer_changes_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the two sessions of ONNX Runtime differ, the user is told, as one of them may be what is wrong."""
    model = embedding_model()
    other = Reference(sabotaged(model))
    run = Reference.run

    class Wrong:
        def run(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
            return run(other, inputs)

    samples = [random_inputs(import_model(model))]
    assert not verify(model, Wrong(), samples).notes
    monkeypatch.setattr(Reference, "run", lambda self, i: run(other if self.optimized else self, i))
    report = verify(model, Wrong(), samples)
    assert "with its optimizations on, ONNX Runtime differs from itself: y, float32" in str(report)
