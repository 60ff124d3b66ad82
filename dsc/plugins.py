"""Files with what a user adds to dsc: passes, kernels, families of machines, devices, operators in Python; machines in
TOML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from dsc.errors import UsageError
from dsc.files.python import run_python
from dsc.ir.onnx import registered_operators
from dsc.lower.registry import RULES
from dsc.passes import Pass, register_pass
from dsc.runtime.devices import registry as devices
from dsc.targets import registry as targets
from dsc.targets.machine_file import load_machines


def load_plugin(path: Path | str) -> list[str]:
    """Run a Python file, or read a TOML file of machines; the names of what it adds are returned.

    Its subclasses of `dsc.passes.Pass` that have a `name` are registered; all else it registers itself, with
    `dsc.targets.register_kernel` and `register_family`, `dsc.runtime.devices.register_device`,
    `dsc.ir.register_operator` and `dsc.lower.lowers`. Operators are named as in the IR ("onnx.com.mine.Swoosh").
    Raises UsageError when the file is not there, cannot be run, or adds nothing.
    """
    path = Path(path)
    if path.suffix == ".toml":
        return load_machines(path)
    before = _registered()
    module = _run(path)
    for cls in _passes(module):
        register_pass(cls)
    changed = [key for key, what in _registered().items() if before.get(key) is not what]
    found = list(dict.fromkeys(name for _, name in changed))
    found += [cls.name for cls in _passes(module) if cls.name not in found]
    if not found:
        raise UsageError(
            f"plugin {path} adds nothing: it defines no pass (a subclass of dsc.passes.Pass with a `name`), and "
            "registers no kernel, family, device, operator or lowering"
        )
    return found


def _run(path: Path) -> ModuleType:
    try:
        module = run_python(path, "dsc_plugin")
    except Exception as error:
        raise UsageError(f"plugin {path} cannot be loaded: {type(error).__name__}: {error}") from error
    if module is None:
        raise UsageError(f"plugin {path} is not a Python file")
    return module


def _passes(module: ModuleType) -> list[type[Pass]]:
    """The passes that a module defines itself."""
    defined = [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, Pass)]
    return [cls for cls in defined if cls.__module__ == module.__name__ and "name" in vars(cls)]


def _registered() -> dict[tuple[str, str], object]:
    """All that is registered by hand, by kind and name; a lowering under the name of its operator."""
    operators = {op_type.name: op_type for op_type in registered_operators()}
    kinds: dict[str, Mapping[str, object]] = {
        "target": targets.added(),
        "device": devices.added(),
        "operator": operators,
        "lowering": RULES,
    }
    return {(kind, name): what for kind, known in kinds.items() for name, what in known.items()}
