"""What can be timed: a compiled module, ONNX Runtime, OpenVINO; each as a call with its inputs bound."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from dsc.errors import UnsupportedModelError, UsageError

Contender: TypeAlias = Callable[[], object]
Inputs: TypeAlias = Mapping[str, np.ndarray]


class _Runnable(Protocol):
    def run(self, inputs: Inputs) -> object: ...


def module_contender(module: _Runnable, inputs: Inputs) -> Contender:
    """A compiled module on these inputs."""
    bound = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
    return lambda: module.run(bound)


def peer_contender(peer: str, model: Path, inputs: Inputs, threads: int, precision: str = "fp32") -> Contender:
    """Another runtime, one of `PEERS`, on the ONNX file `model`, told the shapes of the inputs beforehand.

    precision: fp32, tf32, bf16 or fp16, which a peer may multiply in if it can. ONNX Runtime's CPU kernels can not.
    Raises UsageError for a peer that is not known or not installed, and UnsupportedModelError when it
    refuses the model.
    """
    if peer not in PEERS:
        raise UsageError(f"dsc cannot be timed against {peer!r}; it can be against {', '.join(PEERS)}")
    if importlib.util.find_spec(peer) is None:
        raise UsageError(f"{peer} is not installed: pip install {peer}")
    try:
        contender = PEERS[peer](model, inputs, threads, precision)
        contender()
    except Exception as error:  # the runtimes' errors have no common base but this
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnsupportedModelError(f"{peer} cannot run {model.name} on these inputs: {reason}") from error
    return contender


def _onnxruntime(model: Path, inputs: Inputs, threads: int, _: str) -> Contender:
    import onnxruntime as ort

    def options() -> ort.SessionOptions:
        chosen = ort.SessionOptions()
        chosen.intra_op_num_threads, chosen.inter_op_num_threads = threads, 1
        chosen.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        chosen.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        chosen.log_severity_level = 4
        return chosen

    unoptimized = options()
    unoptimized.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    declared = ort.InferenceSession(os.fspath(model), unoptimized, providers=["CPUExecutionProvider"]).get_inputs()
    fixed = options()
    for spec in declared:
        for name, size in zip(spec.shape, inputs[spec.name].shape, strict=False):
            if isinstance(name, str):
                fixed.add_free_dimension_override_by_name(name, size)
    session = ort.InferenceSession(os.fspath(model), fixed, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, inputs)


def _openvino(model: Path, inputs: Inputs, threads: int, precision: str) -> Contender:
    import openvino

    read = openvino.Core().read_model(os.fspath(model))
    read.reshape({name: list(array.shape) for name, array in inputs.items()})
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _HINTS.get(precision, "f32"),
    }
    request = openvino.Core().compile_model(read, "CPU", settings).create_infer_request()
    return lambda: request.infer(dict(inputs), share_inputs=True)


_HINTS = {"bf16": "bf16", "fp16": "f16"}
"""OpenVINO's names; it takes float32 where the processor does not multiply the type."""

PEERS: dict[str, Callable[[Path, Inputs, int, str], Contender]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}
