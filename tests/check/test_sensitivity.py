"""What is said of a model that needs more precision than it was compiled for."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.check.sensitivity import moved_by, notes
from dsc.check.verdict import examine
from dsc.exchange import import_model
from dsc.ir import Graph
from dsc.pipeline import compile_model
from tests.compiled import TextModel

RANDOM = np.random.default_rng(5)
WEIGHTS = {
    "w": RANDOM.standard_normal((24, 40)).astype(np.float32),
    "v": RANDOM.standard_normal((40, 30)).astype(np.float32),
}


def model(steepness: float) -> TextModel:
    """A sigmoid of products, which saturates the more the steeper it is."""
    text = f"""(float[7,24] x) => (float[7,30] y) {{
        h = MatMul(x, w) r = Relu(h) p = MatMul(r, v)
        k = Constant<value_float={steepness}>() s = Mul(p, k) y = Sigmoid(s) }}"""
    return TextModel(text, WEIGHTS)


def feeds(seed: int = 0) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).standard_normal((7, 24)).astype(np.float32)}


def moved(graph: Graph, element: str) -> float:
    return moved_by(graph, element, feeds(), 1, lambda *_: None)["y"]


@pytest.mark.parametrize(("element", "bits"), [("float16", 11), ("bfloat16", 8)])
def test_it_grows_with_what_follows(element: str, bits: int) -> None:
    """A tenth of an operand of about 1 moves by a rounding or a few; one that is a hundred times as steep far more."""
    gentle, steep = (moved(import_model(model(k).proto()), element) for k in (0.01, 3.0))
    assert 2.0 ** -(bits + 2) < gentle < 16 * 2.0**-bits
    assert steep > 10 * gentle


def test_a_report_says_so_where_the_outputs_are_too_far_off() -> None:
    proto = model(30.0).proto()
    module = compile_model(proto, precision="fp16").model.load(1)
    verdict = examine(proto, import_model(proto), module, [feeds()], threads=1)
    assert not verdict.passed
    (note,) = (note for note in verdict.report.notes if "float16" in note)
    text, share = "results that are rounded to float16 move y by ", note.split(" by ")[1].split(" ")[0]
    assert note == f"{text}{share} of its largest number in ONNX Runtime itself"
    assert float(share) > 1e-2, "which is what the precision allows: the model is that sensitive"


def test_a_model_that_onnx_runtime_does_not_run() -> None:
    graph = import_model(model(1.0).proto())
    (said,) = notes(graph, "float16", {"x": np.zeros((7, 25), np.float32)}, 1, lambda *_: None)
    assert said.startswith("how far rounding to float16 moves the outputs is not known: ")
