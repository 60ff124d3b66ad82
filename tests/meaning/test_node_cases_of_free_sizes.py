"""ONNX's core operator cases again, with every dim of every input free: right, or refused for what must be known.

All of them take a quarter of an hour; some run in a test. `DSC_ALL_FREE_CASES=1` (`make free-sizes`) runs all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import onnx

from tests.meaning.cases import core_cases, parts, wrong
from tests.meaning.test_node_cases import REFUSED

EACH = 32
"""One in so many cases runs in a test."""


def test_cases_of_free_sizes() -> None:
    cases = [replace(case, model=_freed(case.model)) for case in core_cases() if case.name not in REFUSED]
    if not os.environ.get("DSC_ALL_FREE_CASES"):
        cases = cases[::EACH]
    assert len(cases) > 30
    found = wrong(parts(cases, 1)[0])
    unexpected = {name: what for name, what in found.items() if not what.startswith("UnsupportedModelError")}
    assert not unexpected, "\n".join(f"{name}: {what}" for name, what in unexpected.items())
    assert len(found) < len(cases) / 4, f"refused: {', '.join(found)}"


def _freed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with a name of its own for each dim of its inputs, and nothing said of its outputs' but their rank."""
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    for number, dim in enumerate(_dims(freed.graph.input)):
        dim.Clear()
        dim.dim_param = f"d{number}"
    for dim in _dims(freed.graph.output):
        dim.Clear()
    del freed.graph.value_info[:]
    return freed


def _dims(values: list[onnx.ValueInfoProto]) -> Iterator[onnx.TensorShapeProto.Dimension]:
    for value in values:
        yield from value.type.tensor_type.shape.dim
