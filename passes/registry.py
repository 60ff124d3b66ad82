"""Finding passes by name: dsc's own, those of installed packages (entry points `dsc.passes`), and plugin
files."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.metadata import entry_points
from pathlib import Path

from dsc.errors import UsageError
from dsc.passes.base import Pass

_BUILTIN = {
    "canonicalize": "dsc.passes.canonicalize:Canonicalize",
    "expand-functions": "dsc.passes.canonicalize:ExpandFunctions",
    "fold": "dsc.passes.canonicalize:Fold",
    "fuse": "dsc.passes.fuse:Fuse",
    "layout": "dsc.passes.layout:Layout",
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


def load_plugin(path: Path | str) -> list[str]:
    """Run a Python file and register the Pass subclasses it defines; their names are returned.

    Raises UsageError when the file is not there, cannot be run, or defines no pass.
    """
    path = Path(path)
    name = f"dsc_plugin_{path.stem.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError(f"plugin {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"plugin {path} cannot be loaded: {type(error).__name__}: {error}") from error
    defined = [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, Pass)]
    found = {cls.name: cls for cls in defined if cls.__module__ == name and "name" in vars(cls)}
    if not found:
        raise UsageError(f"plugin {path} defines no pass (a subclass of dsc.passes.Pass with a `name`)")
    _plugins.update(found)
    return list(found)
