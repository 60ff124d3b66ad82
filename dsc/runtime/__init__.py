"""The artifact file, and running what is in it. Needs tvm's runtime, numpy and zstandard, nothing of the compiler."""

from __future__ import annotations

from dsc.runtime.manifest import Manifest, TensorSpec
from dsc.runtime.module import Module, inspect, load, stored_weights

__all__ = ["Manifest", "Module", "TensorSpec", "inspect", "load", "stored_weights"]
