"""ONNX to the IR and back: the only place that reads or writes ONNX files."""

from __future__ import annotations

from dsc.exchange.evaluate import EvaluationError, evaluate
from dsc.exchange.exporter import export_model
from dsc.exchange.importer import import_model
from dsc.exchange.read import ModelSource
from dsc.exchange.save import save_model

__all__ = ["EvaluationError", "ModelSource", "evaluate", "export_model", "import_model", "save_model"]
