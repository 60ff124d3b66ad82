"""ONNX's own operator cases through the generic kernel: one in seven, of all kinds."""

from __future__ import annotations

import pytest
import tvm

from dsc.lower import UnsupportedOpError
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.generic.kernel import GenericKernel
from tests.kernels import compiled_library, machine
from tests.lower.node_cases import Case, judge, onnx_cases
from tests.lower.test_node_cases import DEVIATIONS

ONE_IN = 7


def test_node_cases(caplog: pytest.LogCaptureFixture) -> None:
    host = machine("x86")
    cases = [case for _, case in onnx_cases() if isinstance(case, Case)][::ONE_IN]
    built: dict[str, tuple[Case, tvm.tirx.PrimFunc]] = {}
    for case in cases:
        space = GenericKernel().match(case.workload, host)
        try:
            func = space.build(space.points()[0]).func
        except UnsupportedOpError:
            continue
        built[case.name] = case, func
    library = compiled_library({name: func for name, (_, func) in built.items()}, CpuBackend(host))
    results = {name: judge(case, library[name]) for name, (case, _) in built.items()}
    assert {n: r for n, r in results.items() if r != "ok" and n not in DEVIATIONS} == {}
    assert len(results) > 100
    assert not caplog.records, "a schedule was refused"
