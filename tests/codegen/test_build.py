"""Graphs to artifacts: what the code generator itself decides, not the kernels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from xdsl.ir import SSAValue

from dsc.codegen import Candidate, build
from dsc.errors import UnsupportedModelError, UsageError
from dsc.ir import Graph, onnx, tensor
from dsc.lower.workload import Workload
from tests.codegen.reference import HOST, add, check, constant, graph_of

RNG = np.random.default_rng(5)


def _floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype=np.float32)


def _mlp(name: str = "mlp") -> Graph:
    graph = graph_of([("x", tensor("float32", (-1, 20), ["batch", ""]))], name)
    rng = np.random.default_rng(11)
    value = graph.inputs[0]
    for index in range(2):
        weight = constant(graph, rng.standard_normal((20, 20), dtype=np.float32), f"w{index}")
        bias = constant(graph, rng.standard_normal((20,), dtype=np.float32))
        value = add(
            graph,
            onnx.Relu.make(add(graph, onnx.Add.make(add(graph, onnx.MatMul.make(value, weight)), bias))),
        )
    graph.set_outputs([("y", value)])
    return graph


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_dynamic_batch_from_one_artifact(batch: int) -> None:
    check(_mlp(), {"x": _floats(batch, 20)}, tolerance=1e-4)


def test_equal_workloads_share_code() -> None:
    compiled = build(_mlp(), HOST)
    assert len(compiled.choices) == 3  # MatMul, Add, Relu: used twice each
    assert len(compiled.weights) == 4


def test_one_weight_used_twice_is_stored_once() -> None:
    graph = graph_of([("x", tensor("float32", (4, 20)))])
    weight = constant(graph, _floats(20, 20), "w")
    once = add(graph, onnx.MatMul.make(graph.inputs[0], weight))
    graph.set_outputs([("y", add(graph, onnx.MatMul.make(once, weight)))])
    assert len(check(graph, {"x": _floats(4, 20)}, tolerance=1e-4).weights) == 1


def test_outputs_that_are_inputs_weights_constants_or_twice_the_same() -> None:
    graph = graph_of([("x", tensor("float32", (2, 3)))])
    x = graph.inputs[0]
    weight, small = constant(graph, _floats(30, 10), "w"), constant(graph, _floats(3))
    y = add(graph, onnx.Relu.make(x))
    view = add(graph, onnx.Reshape.make(y, constant(graph, np.array([6]))))
    graph.set_outputs([("x2", x), ("w", weight), ("c", small), ("a", y), ("b", y), ("v", view)])
    compiled = check(graph, {"x": _floats(2, 3)})
    module, x = compiled.load(1), _floats(2, 3)
    outputs = module.run({"x": x})
    for name in outputs:
        others = [array for other, array in outputs.items() if other != name]
        assert not any(np.shares_memory(outputs[name], array) for array in [*others, x]), name
        outputs[name][...] = np.nan  # ruins nothing
    assert np.isfinite(module.run({"x": x})["w"]).all()


def test_shapes_are_computed_at_compile_time() -> None:
    graph = graph_of([("x", tensor("float32", (-1, -1, 6), ["batch", "seq", ""]))])
    x = graph.inputs[0]
    shape = add(graph, onnx.Shape.make(x))
    batch = add(graph, onnx.Gather.make(shape, constant(graph, np.array([0]))))
    target = add(graph, onnx.Concat.make(batch, constant(graph, np.array([-1, 2, 3])), axis=0))
    y = add(graph, onnx.Relu.make(add(graph, onnx.Reshape.make(x, target))))
    graph.set_outputs([("y", y), ("shape", shape), ("target", target)])
    compiled = check(graph, {"x": _floats(2, 5, 6)})
    assert [choice.kind for choice in compiled.choices] == ["onnx.Relu"]
    assert [str(spec) for spec in compiled.manifest.outputs][:2] == [
        "y: float32[batch, seq, 2, 3]",
        "shape: int64[3]",
    ]


def test_views_make_no_kernels() -> None:
    graph = graph_of([("x", tensor("float32", (2, 1, 12)))])
    value = add(graph, onnx.Relu.make(graph.inputs[0]))
    value = add(graph, onnx.Squeeze.make(value, constant(graph, np.array([1]))))
    value = add(graph, onnx.Unsqueeze.make(value, constant(graph, np.array([0]))))
    value = add(graph, onnx.Flatten.make(value, axis=2))
    value = add(graph, onnx.Identity.make(value))
    graph.set_outputs([("y", add(graph, onnx.Neg.make(value)))])
    compiled = check(graph, {"x": _floats(2, 1, 12)})
    assert [choice.kind for choice in compiled.choices] == ["onnx.Relu", "onnx.Neg"]


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "int32", "int8", "uint8"])
def test_dtypes(dtype: str) -> None:
    graph = graph_of([("x", tensor(dtype, (3, 5))), ("z", tensor(dtype, (5,)))])
    x, z = graph.inputs
    graph.set_outputs([("sum", add(graph, onnx.Add.make(x, z))), ("less", add(graph, onnx.Less.make(x, z)))])
    feeds = {"x": (RNG.random((3, 5)) * 50).astype(dtype), "z": (RNG.random(5) * 50).astype(dtype)}
    if dtype in ("int8", "uint8"):  # ONNX Runtime has no Add of bytes
        outputs = build(graph, HOST).load(1).run(feeds)
        np.testing.assert_array_equal(outputs["sum"], feeds["x"] + feeds["z"])
        np.testing.assert_array_equal(outputs["less"], feeds["x"] < feeds["z"])
    else:
        check(graph, feeds, tolerance=1e-3 if dtype == "float16" else 1e-6)


@pytest.mark.parametrize("size", [0, 4])
def test_empty_tensors(size: int) -> None:
    graph = graph_of([("x", tensor("float32", (-1, 3), ["n", ""])), ("e", tensor("float32", (0, 3)))])
    x, empty = graph.inputs
    whole = add(graph, onnx.Concat.make(x, empty, axis=0))
    graph.set_outputs([("y", add(graph, onnx.Relu.make(whole))), ("e2", add(graph, onnx.Neg.make(empty)))])
    check(graph, {"x": _floats(size, 3), "e": np.zeros((0, 3), np.float32)})


def test_a_model_without_ops_or_inputs() -> None:
    graph = graph_of([])
    graph.set_outputs([("c", constant(graph, np.arange(3)))])
    np.testing.assert_array_equal(build(graph, HOST).load(1).run({})["c"], [0, 1, 2])


def test_names_that_are_no_identifiers() -> None:
    graph = graph_of([("in put/0:α", tensor("float32", (-1,), ["the batch"]))])
    graph.set_outputs([("out::1", add(graph, onnx.Relu.make(graph.inputs[0])))])
    compiled = check(graph, {"in put/0:α": _floats(7)})
    assert compiled.manifest.inputs[0].shape == ("the batch",)


def test_every_unsupported_op_is_listed_at_once() -> None:
    graph = graph_of([("x", tensor("float32", (2, 3)))])
    for name in ("first", "second"):
        add(graph, onnx.NonZero.make(graph.inputs[0], node=name))
    graph.set_outputs([("y", add(graph, onnx.Relu.make(graph.inputs[0])))])
    with pytest.raises(UnsupportedModelError, match=r"(?s)first.*second"):
        build(graph, HOST)


def test_the_chooser_decides_and_the_report_says_so() -> None:
    seen: list[tuple[str, int]] = []

    def last(workload: Workload, candidates: list[Candidate]) -> Candidate:
        seen.append((workload.kind, len(candidates)))
        assert [c.estimate for c in candidates] == sorted(c.estimate for c in candidates)
        return candidates[-1]

    compiled = build(_mlp(), HOST, chooser=last)
    assert [kind for kind, _ in seen] == [choice.kind for choice in compiled.choices]
    assert {choice.candidates for choice in compiled.choices} == {count for _, count in seen}
    report = json.loads(compiled.load(1).manifest.to_json())["kernels"]
    assert [entry["function"] for entry in report] == [choice.function for choice in compiled.choices]


_PROGRAM = """
import sys
from pathlib import Path
from dsc.codegen import build
from tests.codegen.reference import HOST
from tests.codegen.test_build import _mlp
build(_mlp(), HOST, provenance={"source": "test"}).write(Path(sys.argv[1]))
"""


def test_two_processes_make_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "a.dsc", tmp_path / "b.dsc"]
    for path in paths:
        subprocess.run([sys.executable, "-c", _PROGRAM, str(path)], check=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_no_linker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="apt-get install gcc"):
        build(_mlp(), HOST, chooser=lambda *_: pytest.fail("the work has begun"))


def test_profile_names_the_kernels() -> None:
    compiled = build(_mlp(), HOST)
    times = compiled.load(1).profile({"x": _floats(2, 20)})
    assert [name for name, _ in times] == [c.function for c in compiled.choices] * 2


def test_sizes_of_tensors_that_a_kernel_is_not_given() -> None:
    graph = graph_of([("x", tensor("float32", (-1, 3), ["n", ""])), ("like", tensor("float32", (-1, 2), ["m", ""]))])
    x, like = graph.inputs
    rows = add(graph, onnx.Slice.make(add(graph, onnx.Shape.make(like)), *_ints(graph, [0], [1])))
    head = add(graph, onnx.Slice.make(x, *_ints(graph, [0]), rows, *_ints(graph, [0])))
    shape = add(graph, onnx.Concat.make(rows, *_ints(graph, [3]), axis=0))
    wide = add(graph, onnx.Expand.make(*[constant(graph, _floats(1, 3))], shape))
    graph.set_outputs([("head", head), ("wide", wide), ("shape", shape)])
    check(graph, {"x": _floats(9, 3), "like": _floats(4, 2)})


def _ints(graph: Graph, *lists: list[int]) -> list[SSAValue]:
    return [constant(graph, np.array(numbers)) for numbers in lists]


def test_an_error_of_a_kernel_points_at_the_op() -> None:
    def fails(workload: Workload, candidates: list[Candidate]) -> Candidate:
        raise ZeroDivisionError("tile of no rows")

    with pytest.raises(ZeroDivisionError) as caught:
        build(_mlp(), HOST, chooser=fails)
    assert '"onnx.MatMul"(' in caught.value.__notes__[0]
