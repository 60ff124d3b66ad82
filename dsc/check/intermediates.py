"""The tensors inside of a model, as ONNX Runtime computes them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime

from dsc.check.interface import computed_names
from dsc.check.reference import Reference, to_array, to_value
from dsc.check.segments import Segment, is_large, model_of, segments, value_sizes
from dsc.elements import ELEMENT_TYPES
from dsc.errors import UnsupportedModelError, UsageError

_BUDGET = 16 << 20
"""Bytes of results that are in memory at once, more or less."""

_TYPES = {element.code: f"tensor({element.name.lower()})" for element in ELEMENT_TYPES}
"""How ONNX Runtime writes the types of tensors."""
_CODES = {text: code for code, text in _TYPES.items()}
_FLOATS = frozenset({"tensor(float)", "tensor(float16)", "tensor(bfloat16)", "tensor(double)"})


@dataclass(frozen=True)
class _Stage:
    """A segment that is loaded. wanted: its results that are asked for; dead: what nobody reads after it."""

    segment: Segment
    reference: Reference
    wanted: frozenset[str]
    dead: frozenset[str]


class Intermediates:
    """A model that gives its float tensors one after the other, and keeps none of them.

    wanted: the tensors asked for, inputs and outputs included, of which those that are no floats are left out; None for
    all that the model is given or its nodes compute, constants excepted. threads: cores a run uses, all if None. Nodes
    run in segments, each a session of its own whose results are in memory at once; a feed that is larger than those
    before is segmented anew. Raises UsageError for tensors that the model does not compute, and UnsupportedModelError
    where ONNX Runtime does not take it.
    """

    def __init__(
        self, model: onnx.ModelProto, wanted: Collection[str] | None = None, threads: int | None = None
    ) -> None:
        self._model, self._threads = model, threads
        self._weights = {t.name: _weight(t) for t in model.graph.initializer if is_large(t)}
        known = computed_names(model)
        self._inputs = {v.name: _type_of(v) for v in model.graph.input if v.name in known}
        for name in wanted or ():
            if name not in known:
                near = get_close_matches(name, known)
                raise UsageError(
                    f"the model computes no tensor {name!r}" + f"; near are {', '.join(near)}" * bool(near)
                )
        self._wanted = frozenset(known if wanted is None else wanted)
        self._stages: list[_Stage] = []
        self._planned = -1

    def tensors(self, feed: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        """The tensors by name, in the order in which the model computes them. Raises UsageError as `Reference.run`."""
        size = sum(array.nbytes for array in feed.values())
        if size > self._planned:
            self._stages = []  # before there are others
            self._stages, self._planned = self._loaded(feed), size
        floats = self._floats(self._inputs)
        yield from ((name, feed[name]) for name in self._inputs if name in floats)
        values = {name: to_value(np.asarray(array, order="C")) for name, array in feed.items()}
        for stage in self._stages:
            yield from _run(stage, values)

    def session(
        self, nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, int], outputs: Sequence[str], threads: int | None
    ) -> Reference:
        """Some of the model's nodes by themselves; their weights are not copied. inputs: element types by name."""
        model = model_of(self._model, nodes, inputs, outputs, self._weights)
        weights = {t.name: self._weights[t.name] for t in model.graph.initializer if t.name in self._weights}
        return Reference(model, threads, weights=weights)

    def _loaded(self, feed: Mapping[str, np.ndarray]) -> list[_Stage]:
        """The segments for feeds of this size, as sessions."""
        found = list(segments(self._model.graph, self._wanted, value_sizes(self._model, feed), _BUDGET))
        types, stages = dict(self._inputs), []
        for index, segment in enumerate(found):
            inputs = {name: _code(name, types[name]) for name in segment.reads}
            reference = self.session(segment.nodes, inputs, segment.makes, self._threads)
            types.update(reference.output_types)
            later = {name for other in found[index + 1 :] for name in other.reads}
            dead = frozenset((*segment.reads, *segment.makes)) - later
            stages.append(_Stage(segment, reference, self._floats(reference.output_types), dead))
        return stages

    def _floats(self, types: Mapping[str, str]) -> frozenset[str]:
        """Which of these values are asked for."""
        return frozenset(name for name, type_ in types.items() if name in self._wanted and type_ in _FLOATS)


def _run(stage: _Stage, values: dict[str, onnxruntime.OrtValue]) -> Iterator[tuple[str, np.ndarray]]:
    """The wanted results of a segment; `values` is what segments after it read."""
    names = stage.segment.makes
    results = stage.reference.run_values({name: values[name] for name in stage.segment.reads}, names)
    for name in stage.dead:
        values.pop(name, None)
    for name in names:
        value = results.pop(0)
        if name not in stage.dead:
            values[name] = value
        if name in stage.wanted:
            yield name, to_array(value)


def _weight(tensor: onnx.TensorProto) -> onnxruntime.OrtValue:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise UsageError(f"the data of weight {tensor.name!r} is not in the model, but in a file: load it first")
    return to_value(onnx.numpy_helper.to_array(tensor))


def _type_of(value: onnx.ValueInfoProto) -> str:
    return _TYPES.get(value.type.tensor_type.elem_type, value.type.WhichOneof("value") or "untyped")


def _code(name: str, type_: str) -> int:
    """The element type of a value between segments. Raises UnsupportedModelError for what is no tensor."""
    if type_ not in _CODES:
        raise UnsupportedModelError(f"{name!r} is a {type_}: only tensors are handed from node to node here")
    return _CODES[type_]
