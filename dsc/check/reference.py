"""The reference: ONNX Runtime on the CPU."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnx.external_data_helper
import onnx.numpy_helper
import onnxruntime

from dsc.check.emulated import emulated
from dsc.check.saturation import without_saturation
from dsc.elements import ELEMENT_TYPES
from dsc.errors import UnsupportedModelError, UsageError
from dsc.ir import element_of_dtype

Model: TypeAlias = str | os.PathLike[str] | bytes | onnx.ModelProto
_ENCODED = {f"tensor({e.name.lower()})": e for e in ELEMENT_TYPES if e.encoding is not None}
"""The types that ONNX Runtime does not take from numpy, by its names."""
_SILENT = 4  # onnxruntime's severity "fatal": what goes wrong is raised


class Reference:
    """A model in ONNX Runtime.

    threads: cores one run uses, all if None. optimized: whether its graph optimizations are on; they have faults of
    their own, which must not be taken for ours. weights: the data of the model's external initializers, which is not
    copied; without them memory of a run is kept for the next. fuses_quantization: whether optimizations may make
    integer kernels of operators between dequantized tensors. A model of bfloat16, of which ONNX Runtime lacks kernels,
    is computed in float32 and rounded after each operator; products of bytes do not saturate. Raises
    UnsupportedModelError when ONNX Runtime does not take the model.
    """

    def __init__(
        self,
        model: Model,
        threads: int | None = None,
        optimized: bool = False,
        weights: Mapping[str, onnxruntime.OrtValue] | None = None,
        *,
        fuses_quantization: bool = True,
    ) -> None:
        self.optimized = optimized
        options = onnxruntime.SessionOptions()
        options.enable_cpu_mem_arena = weights is None
        self._lend(options, weights or {})
        options.log_severity_level = _SILENT
        options.intra_op_num_threads = threads or 0
        if not fuses_quantization:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        if not optimized:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        exact = _changed(model, without_saturation)
        try:
            self._session = _session(exact, options)
        except UnsupportedModelError:
            rounding = exact if weights else _changed(exact, _without_bfloat16, with_data=True)
            if rounding is exact:
                raise
            self._session = _session(rounding, options)

    def _lend(self, options: onnxruntime.SessionOptions, weights: Mapping[str, onnxruntime.OrtValue]) -> None:
        """External initializers stand for files until they are given, and are copied unless they are shared as well."""
        self._weights = weights  # the session has no hold on them
        if weights:
            options.add_external_initializers(list(weights), list(weights.values()))
        for name, value in weights.items():
            options.add_initializer(name, value)

    @property
    def output_names(self) -> list[str]:
        """The outputs in the model's order."""
        return [output.name for output in self._session.get_outputs()]

    @property
    def output_types(self) -> dict[str, str]:
        """The outputs' types by name, as ONNX Runtime writes them: "tensor(float)"."""
        return {output.name: output.type for output in self._session.get_outputs()}

    def run_values(
        self, inputs: Mapping[str, onnxruntime.OrtValue], outputs: Sequence[str]
    ) -> list[onnxruntime.OrtValue]:
        """Some outputs, in this order, as ONNX Runtime has them: nothing is copied. Raises UsageError as `run` does."""
        try:
            return list(self._session.run_with_ort_values(list(outputs), dict(inputs)))
        except Exception as error:
            raise _refused(error) from error

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name. Raises UsageError for inputs that the model does not take."""
        try:
            values = self._run(inputs)
        except Exception as error:
            raise _refused(error) from error
        # Scalars come as no arrays, and sequences are none.
        arrays: list[Any] = [v if isinstance(v, list | dict) else np.asarray(v) for v in values]
        return dict(zip(self.output_names, arrays, strict=True))

    def _run(self, inputs: Mapping[str, np.ndarray]) -> list[Any]:
        ends = (*self._session.get_inputs(), *self._session.get_outputs())
        if not any(end.type in _ENCODED for end in ends):
            return list(self._session.run(None, dict(inputs)))
        values = self._session.run_with_ort_values(None, {name: to_value(array) for name, array in inputs.items()})
        return [to_array(value) for value in values]


def _session(model: Model, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    try:
        source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
        return onnxruntime.InferenceSession(
            source if isinstance(source, bytes) else os.fspath(source), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors have no common base but this
        raise UnsupportedModelError(f"ONNX Runtime, the reference, refuses the model: {_first_line(error)}") from error


def _changed(model: Model, change: Callable[[onnx.ModelProto], onnx.ModelProto], *, with_data: bool = False) -> Model:
    """The model after a change; as it was given where nothing changes, or it is no model, which ONNX Runtime says.

    with_data: whether the change looks at data in other files, which is not read for nothing.
    """
    path = None if isinstance(model, onnx.ModelProto | bytes) else os.fspath(model)
    try:
        if path is not None:
            given = onnx.load(path, load_external_data=with_data)
        else:
            given = onnx.load_model_from_string(model) if isinstance(model, bytes) else model
    except Exception:  # protobuf's errors have no common base but this
        return model
    changed = change(given)
    if changed is given:
        return model
    if path is not None and not with_data:
        onnx.external_data_helper.load_external_data_for_model(changed, os.path.dirname(path))
    return changed


def _without_bfloat16(model: onnx.ModelProto) -> onnx.ModelProto:
    return emulated(model, [onnx.TensorProto.BFLOAT16])


def _refused(error: Exception) -> UsageError:
    return UsageError(
        f"ONNX Runtime, the reference, does not run on these inputs: {_first_line(error)}; "
        "give inputs that fit, or fix the model's free dims (--shape)"
    )


def to_value(array: np.ndarray) -> onnxruntime.OrtValue:
    """The array; where numpy does not have its type, by its bytes, which are packed where ONNX packs them."""
    element = element_of_dtype(array.dtype)
    if element.encoding is None:
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)
    raw = np.frombuffer(onnx.numpy_helper.from_array(np.ascontiguousarray(array)).raw_data, np.uint8)
    memory = np.zeros(array.shape, element.stored)
    memory.reshape(-1).view(np.uint8)[: raw.size] = raw
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(memory, element.code)


def to_array(value: onnxruntime.OrtValue) -> Any:
    """The tensor as an array, which shares its memory where numpy has its type."""
    element = _ENCODED.get(value.data_type())
    if element is None:
        return value.numpy()
    shape = value.shape()
    size = -(-math.prod(shape) * element.bits // 8)
    raw = ctypes.string_at(value.data_ptr(), size) if size else b""
    return onnx.numpy_helper.to_array(onnx.TensorProto(dims=shape, data_type=element.code, raw_data=raw))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
