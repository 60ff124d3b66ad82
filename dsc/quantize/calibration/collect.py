"""One pass over the data, in which every tensor is shown to its statistics and forgotten."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx
import onnx.numpy_helper

from dsc.check.interface import constant_names, input_specs
from dsc.check.intermediates import Intermediates
from dsc.errors import DscError, UsageError
from dsc.quantize.calibration.statistics import Statistic, Values
from dsc.runtime.inputs import checked_inputs

Feed = Mapping[str, np.ndarray]
Watch = Callable[[str], Sequence[Statistic]]
_LOG = logging.getLogger(__name__)


def collect(
    model: onnx.ModelProto,
    data: Iterable[Feed],
    watch: Watch,
    tensors: Collection[str] | None = None,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Run a model on all feeds in ONNX Runtime, and show each of its float tensors to its statistics.

    watch: the statistics of a tensor, by its name. tensors: those to look at, all floats if None; at constants there is
    one look. on_progress: told how many feeds are done. A tensor without elements is shown to nobody. Raises UsageError
    where there are no feeds, a feed does not fit the model or has numbers that are not finite, or there is a NaN in a
    tensor looked at; infinities there, which masks have, are left out, with a warning.
    """
    constants = constant_names(model)
    computed = None if tensors is None else [name for name in tensors if name not in constants]
    intermediates, specs, shown = Intermediates(model, computed), input_specs(model), _Shown(watch)
    done = 0
    for done, feed in enumerate(data, 1):
        try:
            inputs = dict(zip((spec.name for spec in specs), checked_inputs(specs, feed), strict=True))
            _check_numbers(inputs)
            for name, array in intermediates.tensors(inputs):
                shown.show(name, array)
            shown.check_all(computed or ())
        except DscError as error:
            raise type(error)(f"calibration sample {done}: {error}") from error
        if on_progress is not None:
            on_progress(done)
    if not done:
        raise UsageError("there are no samples to calibrate with")
    for name, array in _constants(model, tensors):
        shown.show(name, array)


class _Shown:
    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._warned: set[str] = set()
        self._known: set[str] = set()

    def show(self, name: str, array: np.ndarray) -> None:
        """Show a tensor to its statistics."""
        self._known.add(name)
        wide = array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)
        values = _measured(name, wide)
        if values is None:
            return
        if not values.finite and name not in self._warned:
            self._warned.add(name)
            _LOG.warning("tensor %r has infinities, as masks do: its range is that of its finite numbers", name)
        for statistic in self._watch(name):
            statistic.add(values)

    def check_all(self, tensors: Collection[str]) -> None:
        """Raise UsageError where one of them was not there to be shown: only floats are."""
        if others := [name for name in tensors if name not in self._known]:
            raise UsageError(f"tensor {others[0]!r} is no float, and has no range")


def _measured(name: str, array: np.ndarray) -> Values | None:
    """The tensor with its extremes, None where it has no finite number. Raises UsageError for NaN."""
    if not array.size:
        return None
    low, high = float(array.min()), float(array.max())
    if np.isfinite(low) and np.isfinite(high):
        return Values(array, low, high)
    if np.isnan(low):
        raise UsageError(f"tensor {name!r} has a NaN: the model computes none that can be calibrated")
    finite = array[np.isfinite(array)]
    return Values(array, float(finite.min()), float(finite.max()), finite=False) if finite.size else None


def _check_numbers(inputs: Feed) -> None:
    for name, array in inputs.items():
        if array.dtype.kind in "iub":
            continue
        wide = array if array.dtype.kind == "f" else array.astype(np.float32)  # bfloat16
        if not np.isfinite(wide).all():
            place = np.argwhere(~np.isfinite(wide))[0].tolist()
            raise UsageError(f"input {name!r} has {wide[tuple(place)]} at {place}: calibration data must be finite")


def _constants(model: onnx.ModelProto, tensors: Collection[str] | None) -> Iterator[tuple[str, np.ndarray]]:
    """The float constants of a model that are looked at: of all, those that nodes read."""
    read = {name for node in model.graph.node for name in node.input} if tensors is None else set(tensors)
    stored = [(tensor.name, tensor) for tensor in model.graph.initializer]
    for node in model.graph.node:
        if node.op_type == "Constant" and not node.domain:
            stored += [(node.output[0], attribute.t) for attribute in node.attribute if attribute.name == "value"]
    for name, tensor in stored:
        if name in read and tensor.data_type in _FLOATS:
            yield name, onnx.numpy_helper.to_array(tensor)


_FLOATS = frozenset(getattr(onnx.TensorProto, name) for name in ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"))
