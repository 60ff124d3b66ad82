"""The float model and the one that is pruned, side by side on samples, run piece by piece.

What a layer reads is known for both before it is pruned, and what it gives after; so each node runs once on each
sample, however many layers there are. Of the tensors only those are kept that a node further on reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx

from dsc.check.interface import input_specs
from dsc.check.reference import Reference
from dsc.check.segments import model_of, read_names
from dsc.errors import DscError, UsageError
from dsc.ir import element_of_dtype
from dsc.quantize.calibration import Feed
from dsc.runtime.inputs import checked_inputs

Tensors = dict[str, np.ndarray]
Pair = tuple[np.ndarray, np.ndarray]
"""A tensor of a sample, in the float model and in the pruned one; one array where they are the same."""


def are_same(pairs: Sequence[Pair]) -> bool:
    """Whether a tensor is in the pruned model what it is in the float one."""
    return all(some is other for some, other in pairs)


class Twins:
    """float_model: its nodes in order. pruned: the same nodes by name; its constants are changed between calls.

    Raises UsageError for samples that the model does not take, and where there are none.
    """

    def __init__(self, float_model: onnx.ModelProto, pruned: onnx.ModelProto, samples: Iterable[Feed]) -> None:
        self._models = (float_model, pruned)
        self._left = list(float_model.graph.node)
        self._constants = {tensor.name for tensor in float_model.graph.initializer}
        self._pairs = [(feed, dict(feed)) for feed in _checked(float_model, samples)]
        self._changed: set[str] = set()

    def change(self, tensor: str) -> None:
        """What a node makes is another in the pruned model."""
        self._changed.add(tensor)

    def pairs(self, tensor: str) -> list[Pair]:
        """A tensor that a node still to be run reads, of each sample; the nodes before it are run.

        Raises UsageError where it is infinite or NaN.
        """
        if tensor not in self._pairs[0][0]:
            self._run(self._until(tensor))
        found = [(both[0][tensor], both[1][tensor]) for both in self._pairs]
        for index, pair in enumerate(found, 1):
            if not all(np.isfinite(array).all() for array in pair):
                raise UsageError(f"calibration sample {index} makes {tensor!r} infinite or NaN")
        return found

    def _until(self, tensor: str) -> list[onnx.NodeProto]:
        end = next(index for index, node in enumerate(self._left, 1) if tensor in node.output)
        nodes, self._left = self._left[:end], self._left[end:]
        return nodes

    def _run(self, nodes: Sequence[onnx.NodeProto]) -> None:
        later = {name for node in self._left for name in read_names(node)}
        made = {name for node in nodes for name in node.output if name}
        wanted, side_by_side = sorted(made & later), self._spread(nodes)
        first = self._session(0, nodes, wanted)
        second = self._session(1, nodes, wanted) if side_by_side else None
        for in_float, pruned in self._pairs:
            in_float.update(first(in_float))
            pruned.update({name: in_float[name] for name in wanted} if second is None else second(pruned))
            for name in set(in_float) - later:
                del in_float[name], pruned[name]

    def _spread(self, nodes: Sequence[onnx.NodeProto]) -> bool:
        """Whether the models differ in what these nodes make; what depends on a change is changed."""
        for node in nodes:
            if self._changed.intersection(read_names(node)):
                self._changed.update(node.output)
        return any(self._changed.intersection(node.output) for node in nodes)

    def _session(self, side: int, nodes: Sequence[onnx.NodeProto], wanted: Sequence[str]) -> _Session:
        names = {node.name for node in nodes}
        own = [node for node in self._models[side].graph.node if node.name in names]
        made = {name for node in nodes for name in node.output}
        reads = sorted({name for node in nodes for name in read_names(node)} - made - self._constants)
        return _Session(self._models[side], own, {name: self._pairs[0][side][name] for name in reads}, wanted)


class _Session:
    """Some nodes of a model, with values that stand for the types of what they read."""

    def __init__(
        self, model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], reads: Tensors, wanted: Sequence[str]
    ) -> None:
        self._reads = list(reads)
        codes = {name: element_of_dtype(array.dtype).code for name, array in reads.items()}
        self._reference = Reference(model_of(model, nodes, codes, wanted), optimized=True)

    def __call__(self, values: Mapping[str, np.ndarray]) -> Tensors:
        return self._reference.run({name: values[name] for name in self._reads})


def _checked(model: onnx.ModelProto, samples: Iterable[Feed]) -> list[Tensors]:
    specs, found = input_specs(model), []
    for index, feed in enumerate(samples, 1):
        try:
            arrays = checked_inputs(specs, feed)
        except DscError as error:
            raise type(error)(f"calibration sample {index}: {error}") from error
        found.append(dict(zip((spec.name for spec in specs), arrays, strict=True)))
    if not found:
        raise UsageError("there are no samples to calibrate with")
    return found
