"""dsc: a compiler-style graph optimizer for ONNX models.

>>> module = dsc.compile("model.onnx", target="x86", opt_level=2)
>>> outputs = module.run({"input": array})
>>> module.save("model.dsc"); module = dsc.load("model.dsc", threads=2)
>>> graph = dsc.import_onnx("model.onnx"); dsc.export_onnx(graph, "optimized.onnx")
"""

from __future__ import annotations

from dsc.api import compile, export_onnx, import_onnx, load
from dsc.errors import DscError

__version__ = "0.1.0"

__all__ = ["DscError", "compile", "export_onnx", "import_onnx", "load"]
