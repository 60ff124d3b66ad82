"""What figures depend on, for the record."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

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
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()
