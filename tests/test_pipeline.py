"""Presets, phases and the Python API."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import dsc
from dsc.errors import UsageError
from dsc.passes import Pipeline
from dsc.pipeline import compile_model, preset
from dsc.targets import target


def attention(operator: str = "Attention") -> onnx.ModelProto:
    """An operator without a lowering of its own, between two that have one. (`Sum` has one.)"""
    helper = onnx.helper
    shape = ["batch", 2, 5, 8]
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in ("q", "k", "v", "y")]
    nodes = [
        helper.make_node("Relu", ["v"], ["positive"]),
        helper.make_node(operator, ["q", "k", "positive"], ["mixed"]),
        helper.make_node("Neg", ["mixed"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "attention", values[:3], values[3:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)


def feeds() -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    return {n: random.standard_normal((3, 2, 5, 8), dtype=np.float32) for n in "qkv"}


@pytest.mark.parametrize(
    ("opt_level", "operator"),
    [(0, "Sum"), (0, "Attention"), (1, "Attention"), (2, "Attention"), (3, "Attention")],
)
def test_every_level_computes_the_same(opt_level: int, operator: str) -> None:
    model = attention(operator)
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds())
    module = dsc.compile(model, opt_level=opt_level, tuning_seconds=1.0)
    # float32 sums of 8 products and a softmax in another order
    np.testing.assert_allclose(module.run(feeds())["y"], expected, rtol=1e-5, atol=1e-6)


def test_presets_are_pipelines_that_round_trip() -> None:
    here = target("x86:avx2")
    assert "layout{block=8}" in str(preset(2, here))
    assert preset(2, here) == preset(3, here)
    for level in range(4):
        assert Pipeline.parse(str(preset(level, here))) == preset(level, here)
    with pytest.raises(UsageError, match="no optimization level 4"):
        preset(4, here)


def test_phases_are_reported_and_timed() -> None:
    seen: list[str] = []
    compilation = compile_model(attention(), progress=lambda phase, done, total: seen.append(phase))
    assert list(dict.fromkeys(seen)) == ["import", "optimize", "select", "compile"]
    assert set(compilation.seconds) == {"import", "optimize", "build"}
    assert any("Attention => its definition" in record.fired for record in compilation.passes)


def test_sources_and_what_comes_out_are_interchangeable(tmp_path: Path) -> None:
    model, path = attention(), tmp_path / "model.onnx"
    onnx.save(model, path)
    graph = dsc.import_onnx(path)
    dsc.export_onnx(graph, tmp_path / "again.onnx")
    dsc.compile(path).save(tmp_path / "model.dsc")
    sources = [model, model.SerializeToString(), path, str(path), graph, tmp_path / "again.onnx"]
    results = [dsc.compile(source).run(feeds())["y"] for source in sources]  # type: ignore[arg-type]
    results.append(dsc.load(tmp_path / "model.dsc", threads=1).run(feeds())["y"])
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
