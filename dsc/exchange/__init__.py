"""ONNX to the IR and back: the only place that reads or writes ONNX files."""

from __future__ import annotations

from dsc.exchange.evaluate import EvaluationError, evaluate, evaluate_graph
from dsc.exchange.expand import definition, has_definition
from dsc.exchange.exporter import export_model
from dsc.exchange.fingerprint import fingerprint
from dsc.exchange.importer import import_model
from dsc.exchange.read import ModelSource
from dsc.exchange.save import save_model

__all__ = [
    "EvaluationError",
    "ModelSource",
    "definition",
    "evaluate",
    "evaluate_graph",
    "export_model",
    "fingerprint",
    "has_definition",
    "import_model",
    "save_model",
]
