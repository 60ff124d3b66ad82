"""One lowering for each ONNX operator, by family."""

from __future__ import annotations

import importlib
import pkgutil


def load_rules() -> None:
    """Imports every module of this package, which registers its lowerings."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
