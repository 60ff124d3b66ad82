"""Finding passes by name: dsc's own, those of installed packages (entry points `dsc.passes`), and of plugins."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

from dsc.errors import UsageError
from dsc.passes.base import Pass

_BUILTIN = {
    "canonicalize": "dsc.passes.canonicalize:Canonicalize",
    "chosen-weights": "dsc.passes.sparsity:ChosenWeights",
    "expand-functions": "dsc.passes.canonicalize:ExpandFunctions",
    "fold": "dsc.passes.canonicalize:Fold",
    "fuse": "dsc.passes.fuse:Fuse",
    "integers": "dsc.passes.integers:Integers",
    "layout": "dsc.passes.layout:Layout",
    "precision": "dsc.passes.precision:Precision",
    "quantize-rows": "dsc.passes.weight_only:QuantizeRows",
    "requantize": "dsc.passes.integers:Requantize",
    "sparse-inputs": "dsc.passes.sparsity:SparseInputs",
    "sparsify-attention": "dsc.passes.sparsity:SparsifyAttention",
    "sparsity": "dsc.passes.sparsity:Sparsity",
    "unsigned": "dsc.passes.unsigned:Unsigned",
    "weight-only": "dsc.passes.weight_only:WeightOnly",
    "widen": "dsc.passes.widen:Widen",
}
_plugins: dict[str, type[Pass]] = {}


def pass_names() -> list[str]:
    """The names of all passes that can be used."""
    return sorted({*_BUILTIN, *_plugins, *(e.name for e in entry_points(group="dsc.passes"))})


def pass_class(name: str) -> type[Pass]:
    """The class of a pass. Raises UsageError, listing the passes there are, for a name that is not one."""
    if name in _plugins:
        return _plugins[name]
    if name in _BUILTIN:
        module, _, attribute = _BUILTIN[name].partition(":")
        found = getattr(importlib.import_module(module), attribute)
    else:
        points = list(entry_points(group="dsc.passes", name=name))
        if not points:
            raise UsageError(f"there is no pass {name!r}; there are {', '.join(pass_names())}")
        found = points[0].load()
    if not (isinstance(found, type) and issubclass(found, Pass)):
        raise UsageError(f"the entry point of pass {name!r} is {found!r}, not a subclass of dsc.passes.Pass")
    return found


def register_pass(cls: type[Pass]) -> type[Pass]:
    """Add a pass under its name, for as long as the process lives; for plugins."""
    _plugins[cls.name] = cls
    return cls
