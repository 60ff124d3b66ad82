"""ONNX's own operator cases through the whole compiler, many as one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

import dsc
from dsc.elements import computed
from dsc.errors import UnsupportedModelError
from dsc.lower.registry import RULES
from tests.onnx_cases import onnx_node_cases

CHUNK = 48
"""Cases compiled as one model."""

HALF = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
"""Types in which the expected values are themselves off by up to two units in the last place.

ONNX's reference rounds after each of its steps, which in Attention comes to 1.7 units; a compiler rounds after others,
or never. So two units are allowed, as ONNX's own test runner allows for bfloat16. `test_half_precision.py` has the
values that are right."""


@dataclass
class Case:
    """A model of one operator (mostly one node), what it is fed and what it is to give, by name."""

    name: str
    model: onnx.ModelProto
    feeds: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    rtol: float
    atol: float


@cache
def core_cases() -> tuple[Case, ...]:
    """Those of ONNX's default domain on plain tensors; no function bodies, training and strings."""
    return tuple(_case(c) for c in onnx_node_cases() if c.model is not None and _is_core(c.name, c.model))


def _is_core(name: str, model: onnx.ModelProto) -> bool:
    if "_expanded" in name or "train" in name or any(n.domain not in ("", "ai.onnx") for n in model.graph.node):
        return False
    types = [value.type for value in (*model.graph.input, *model.graph.output)]
    return all(t.HasField("tensor_type") and t.tensor_type.elem_type != TensorProto.STRING for t in types)


def _case(case: object) -> Case:
    inputs, outputs = ([_array(v) for v in values] for values in case.data_sets[0])  # type: ignore[attr-defined]
    graph = case.model.graph  # type: ignore[attr-defined]
    feeds = {v.name: a for v, a in zip(graph.input, inputs, strict=False)}
    expected = {v.name: a for v, a in zip(graph.output, outputs, strict=False)}
    return Case(case.name, _bound(case.model, feeds), feeds, expected, case.rtol, case.atol)  # type: ignore[attr-defined]


def _array(value: object) -> np.ndarray:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def _bound(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The model with what must be known at compile time (shapes, axes, scales) as initializers, not in `feeds`."""
    bound = onnx.ModelProto()
    bound.CopyFrom(model)
    names = []
    for node in bound.graph.node:
        rule = RULES.get(f"onnx.{node.op_type}")
        read = {1} if node.op_type == "Upsample" else rule.value_operands if rule else None
        for k, name in enumerate(node.input):
            small = k and name in feeds and feeds[name].dtype.kind in "iu" and feeds[name].ndim < 2
            if name in feeds and (small if read is None else k in read):
                names.append(name)
    kept = [v for v in bound.graph.input if v.name not in names]
    del bound.graph.input[:]
    bound.graph.input.extend(kept)
    bound.graph.initializer.extend(numpy_helper.from_array(feeds.pop(n), n) for n in dict.fromkeys(names))
    return bound


def parts(cases: Sequence[Case], count: int) -> list[list[list[Case]]]:
    """Models to be made of cases, `CHUNK` or fewer of one opset each, in `count` parts of about the same size."""
    by_opset: dict[int, list[Case]] = {}
    for case in cases:
        (version,) = (o.version for o in case.model.opset_import if o.domain in ("", "ai.onnx"))
        by_opset.setdefault(version, []).append(case)
    models = [group[k : k + CHUNK] for group in by_opset.values() for k in range(0, len(group), CHUNK)]
    models.sort(key=len, reverse=True)
    return [models[k::count] for k in range(count)]


def wrong(models: Sequence[Sequence[Case]]) -> dict[str, str]:
    """The cases that do not give what they are to, and what they do instead."""
    return {name: what for cases in models for name, what in _judged(cases).items() if what}


def refusal(case: Case) -> str:
    """What the user is told of a model that cannot be compiled, without its own name; empty if it can be."""
    try:
        dsc.compile(case.model, threads=1)
    except UnsupportedModelError as error:
        return " ".join(str(error).split()).removeprefix(f"{case.name}: ")
    return ""


def results(cases: Sequence[Case]) -> list[dict[str, np.ndarray]]:
    """What cases of one opset, compiled together, give by the names of their outputs."""
    found = dsc.compile(_joined(cases), threads=1).run(
        {f"c{k}_{name}": array for k, case in enumerate(cases) for name, array in case.feeds.items()}
    )
    return [{name: found[f"c{k}_{name}"] for name in case.expected} for k, case in enumerate(cases)]


def _judged(cases: Sequence[Case]) -> dict[str, str]:
    """Compiled together; where that fails each half by itself, so that the failure is that of one case."""
    try:
        given = results(cases)
    except Exception as error:  # every case is judged by itself
        if len(cases) > 1:
            middle = len(cases) // 2
            return _judged(cases[:middle]) | _judged(cases[middle:])
        return {cases[0].name: f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    return {case.name: _difference(case, each) for case, each in zip(cases, given, strict=True)}


def _joined(cases: Sequence[Case]) -> onnx.ModelProto:
    joined = onnx.ModelProto()
    joined.CopyFrom(cases[0].model)
    del joined.graph.node[:], joined.graph.input[:], joined.graph.output[:], joined.graph.initializer[:]
    del joined.graph.value_info[:]
    joined.ir_version = max(c.model.ir_version for c in cases)
    for k, case in enumerate(cases):
        graph = onnx.compose.add_prefix_graph(case.model.graph, f"c{k}_", rename_nodes=False)
        joined.graph.node.extend(graph.node)
        joined.graph.input.extend(graph.input)
        joined.graph.output.extend(graph.output)
        joined.graph.initializer.extend(graph.initializer)
    return joined


def _difference(case: Case, given: dict[str, np.ndarray]) -> str:
    try:
        for name, expected in case.expected.items():
            result = given[name]
            assert (result.dtype, result.shape) == (expected.dtype, expected.shape), f"{result.dtype} {result.shape}"
            if expected.dtype in HALF:
                wide = result.astype(np.float32), expected.astype(np.float32)
                units = 2 * float(ml_dtypes.finfo(expected.dtype).eps)
                np.testing.assert_allclose(*wide, rtol=max(case.rtol, units), atol=case.atol)
            elif expected.dtype.kind == "f" and expected.dtype.itemsize > 1:
                np.testing.assert_allclose(result, expected, rtol=case.rtol, atol=case.atol)
            else:
                np.testing.assert_array_equal(computed(result), computed(expected))
    except AssertionError as error:
        return " ".join(str(error).split())[:300]
    return ""
