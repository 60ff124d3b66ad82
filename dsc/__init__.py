"""dsc: a compiler-style graph optimizer for ONNX models.

>>> module = dsc.compile("model.onnx", target="x86", opt_level=2)
>>> outputs = module.run({"input": array})
>>> module.save("model.dsc"); module = dsc.load("model.dsc", threads=2)
>>> graph = dsc.import_onnx("model.onnx"); dsc.export_onnx(graph, "optimized.onnx")
>>> quantized = dsc.quantize("model.onnx", samples); quantized.save("quantized.onnx")
>>> pruned = dsc.prune("model.onnx", samples, sparsity=0.5); pruned.save("pruned.onnx")
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dsc.api import compile, export_onnx, import_onnx, load
    from dsc.errors import DscError

__version__ = "0.1.0"

__all__ = ["DscError", "compile", "export_onnx", "import_onnx", "load", "prune", "quantize"]


def __getattr__(name: str) -> object:
    """The names of `__all__`, imported when first used: the program catches signals before that takes time."""
    if name not in __all__:
        raise AttributeError(f"module 'dsc' has no attribute {name!r}")
    from importlib import import_module

    from dsc import api, errors

    packages = {name: import_module(f"dsc.{name}") for name in ("prune", "quantize")}  # they can be called
    known = {"DscError": errors.DscError, **packages}
    globals().update({name: known[name] if name in known else getattr(api, name) for name in __all__})
    return globals()[name]
