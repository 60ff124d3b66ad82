"""ONNX to the IR and back: the only place that reads or writes ONNX files."""

from __future__ import annotations

from dsc.exchange.importer import import_model
from dsc.exchange.read import ModelSource

__all__ = ["ModelSource", "import_model"]
