"""The process that runs subjects, given as a pickle, and says what it begins and how each ends."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np

from dsc.codegen import CompiledModel
from dsc.errors import DscError
from dsc.pipeline import compile_model
from dsc.runtime.devices import Staging, device
from dsc.runtime.library import load_library
from dsc.runtime.sessions import Session
from tests.guard_pages import all_guarded
from tests.guards.memory import Placement, place
from tests.guards.subjects import Subject

BEGIN, END = "begin", "end"


def main() -> None:
    """Runs each subject with tensors at both ends of their pages."""
    for subject in pickle.loads(Path(sys.argv[1]).read_bytes()):
        print(BEGIN, subject.name, flush=True)
        print(END, _outcome(subject), flush=True)


def _outcome(subject: Subject) -> str:
    try:
        model = compile_model(subject.model).model
    except DscError:
        return "refused"
    arrays = [np.asarray(subject.feeds[spec.name]) for spec in model.manifest.inputs]
    if any(array.dtype != spec.dtype for array, spec in zip(arrays, model.manifest.inputs, strict=True)):
        return "refused"
    expected = _run(model, arrays, Placement.OFF)
    for placement in (Placement.AT_END, Placement.AT_BEGIN):
        for one, other in zip(_run(model, arrays, placement), expected, strict=True):
            if one.tobytes() != other.tobytes():
                return f"{placement.name}: other values than without guards"
    return "ok"


def _run(model: CompiledModel, arrays: list[np.ndarray], placement: Placement) -> list[np.ndarray]:
    """The outputs, with inputs, weights and all that the run allocates guarded."""
    weights = [np.array(weight.load()).reshape(weight.shape) for weight in model.weights]
    host = device("cpu", "model")
    library = load_library(model.library, "model")
    host.start(library, 1)
    with all_guarded([*arrays, *weights], placement is not Placement.AT_BEGIN) as copies:
        parameters = [host.put(weight, Staging()) for weight in copies[len(arrays) :]]
        session = Session(library, host, parameters, "naive", model.manifest.inputs, model.manifest.checks)
        place(placement)
        results = [np.from_dlpack(tensor).copy() for tensor in session(copies[: len(arrays)])[1]]
        place(Placement.OFF)
        del session, parameters
    return results


if __name__ == "__main__":
    main()
