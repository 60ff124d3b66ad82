"""ONNX's own operator cases through the generic kernel of GPUs: a few of all kinds."""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm import tirx

from dsc.lower import UnsupportedOpError
from dsc.simulator import Simulation
from dsc.targets.gpu.generic.kernel import Generic
from tests.lower.node_cases import Case, judge, onnx_cases
from tests.lower.test_node_cases import DEVIATIONS
from tests.targets.cuda.simulated import backend, library, machine

ONE_IN = 19


def on_device(function: tvm.runtime.Function, results: int) -> Callable[..., None]:
    """A function of tensors in the host's memory; the last ones are its results."""

    def call(*tensors: tvm.runtime.Tensor) -> None:
        copies = [tvm.runtime.tensor(tensor.numpy(), tvm.cuda(0)) for tensor in tensors]
        function(*copies)
        for tensor, copy in zip(tensors[-results:], copies[-results:], strict=True):
            tensor.copyfrom(copy.numpy())

    return call


def test_node_cases(simulation: Simulation) -> None:
    built: dict[str, tuple[Case, tirx.PrimFunc]] = {}
    for case in [case for _, case in onnx_cases() if isinstance(case, Case)][5::ONE_IN]:
        space = Generic().match(case.workload, machine())
        try:
            built[case.name] = case, space.build(min(space.points(), key=space.estimate)).func
        except UnsupportedOpError:
            continue
    code = library({name: func for name, (_, func) in built.items()}, backend(simulation))
    results = {name: judge(case, on_device(code[name], len(case.expected))) for name, (case, _) in built.items()}
    assert {name: result for name, result in results.items() if result != "ok" and name not in DEVIATIONS} == {}
    assert len(results) > 30
