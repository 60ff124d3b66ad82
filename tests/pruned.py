"""Models of the zoo with zeros in their weights, for surveys of kernels: what they compute is of no use."""

from __future__ import annotations

from pathlib import Path

import onnx

import dsc.models as zoo
from dsc.prune.prune import prune
from dsc.sparsity import Pattern

SPARSITY = 0.9
"""Where the pattern has none of its own."""


def model(name: str, pattern: str | None) -> Path | onnx.ModelProto:
    """A model of the zoo, pruned by magnitude in that pattern if one is given."""
    path = zoo.fetch(name)
    if pattern is None:
        return path
    has_its_own = Pattern.parse(pattern).limit is not None
    return prune(path, pattern=pattern, sparsity=None if has_its_own else SPARSITY, method="magnitude").model
