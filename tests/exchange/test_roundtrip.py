"""Import, canonicalize and export keep the numbers: ONNX's own node cases and nets, both sides in ONNX
Runtime.
"""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from dsc.errors import DscError
from dsc.exchange import export_model, import_model
from dsc.exchange.upgrade import OLDEST
from dsc.passes.canonicalize import Canonicalize
from tests.exchange.models import assert_close, run

LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))
_RANDOM = ("train", "random", "bernoulli")


@cache
def _cases() -> list[Any]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    return [c for c in cases if not any(word in c.name for word in _RANDOM) and _is_plain(c.model)]


def _is_plain(model: onnx.ModelProto) -> bool:
    """Tensors only, operators of the default domain at an opset that is read."""
    standard = all(n.domain == "" for n in model.graph.node) and model.opset_import[0].version >= OLDEST
    return standard and all(v.type.HasField("tensor_type") for v in model.graph.input)


def _feeds(case: Any) -> dict[str, Any]:
    inputs, _ = case.data_sets[0]
    return dict(zip([v.name for v in case.model.graph.input], inputs, strict=False))


def _check(case: Any, canonical: bool) -> str:
    """One of "refused" (by the importer), "reference" (ONNX Runtime cannot run the original), "ok"; asserts
    the rest.
    """
    try:
        graph = import_model(case.model)
    except DscError:
        return "refused"
    if canonical:
        Canonicalize().run(graph)
    else:
        graph.verify()
    exported = export_model(graph)
    onnx.checker.check_model(exported)
    try:
        expected = run(case.model, _feeds(case))
    except Exception:  # ONNX Runtime's own classes, without a common base
        return "reference"
    # 1e-5: kernels of another opset sum in another order; float16 has 11 bits
    half = "fp16" in case.name or "float16" in case.name or "FLOAT16" in case.name
    assert_close(run(exported, _feeds(case)), expected, 4e-3 if half else 1e-5)
    return "ok"


@pytest.mark.parametrize("part", range(8))
@pytest.mark.parametrize("canonical", [False, True], ids=["plain", "canonical"])
def test_node_cases(part: int, canonical: bool) -> None:
    # every second case, canonicalized every fourth: there are 1,700, and each takes 10 to 40 ms
    cases = _cases()[part :: 32 if canonical else 16]
    results = [(case.name, _check(case, canonical)) for case in cases]
    refused = [name for name, result in results if result == "refused"]
    assert set(refused) <= {"test_scan_sum"}  # the batched Scan of opset 8
    assert sum(result == "ok" for _, result in results) >= 0.7 * len(cases)


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_light_models(path: Path) -> None:
    graph = import_model(path)
    graph.verify()
    exported = export_model(graph)
    onnx.checker.check_model(exported)
    assert [v.name for v in exported.graph.output] == graph.output_names
    x = np.random.default_rng(0).standard_normal([1, 3, 224, 224], np.float32)
    feeds = {graph.input_names[0]: x}
    # the nets have constant weights, so that their outputs are all alike: equal they must be all the same
    assert_close(run(exported, feeds), run(str(path), feeds))
