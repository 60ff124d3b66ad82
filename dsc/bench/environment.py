"""What figures depend on, for the record."""

from __future__ import annotations

import os
import platform
from importlib import metadata

from dsc.host import processor, usable_cores

_DISTRIBUTIONS = ("dsc", "apache-tvm", "onnxruntime", "openvino", "numpy")


def environment() -> dict[str, object]:
    """The processor, the cores this process may use, and the versions of what is timed."""
    versions = {}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": processor(),
        "cores": usable_cores(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": versions,
    }
