"""Ops built through the lowerings without any schedule, and ONNX's own operator cases for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx as onnx_package
import tvm
from onnx import helper, numpy_helper
from tvm import tirx
from xdsl.dialects.test import TestOp as AnyOp
from xdsl.ir import SSAValue

from dsc.elements import computed, stored
from dsc.ir import OnnxOp, onnx, tensor
from dsc.lower import UnsupportedOpError, Workload, lower_body, placeholders, prim_func
from dsc.lower.registry import RULES
from dsc.targets.cpu.backend import CpuBackend
from tests.kernels import compiled_library, machine
from tests.onnx_cases import onnx_node_cases


class _Quick(CpuBackend):
    """LLVM does its least: what counts is what functions mean."""

    @cached_property
    def target(self) -> tvm.target.Target:
        return tvm.target.Target({"kind": "llvm", "num-cores": 1, "opt-level": 1})


BACKEND = _Quick(machine("x86:x86-64-v2"))
CHUNK = 128
"""Cases compiled as one module."""


@dataclass
class Case:
    """One op with its inputs and expected outputs."""

    name: str
    op: OnnxOp
    workload: Workload
    inputs: list[np.ndarray]
    """In the order of the workload."""
    expected: list[np.ndarray]
    rtol: float = 1e-3
    atol: float = 1e-7


def onnx_cases() -> Iterator[tuple[str, Case | Exception]]:
    """The newest cases of ONNX that are one node of its default domain on plain tensors."""
    for case in onnx_node_cases():
        if case.model is None or len(case.model.graph.node) != 1 or case.name.endswith("_expanded"):
            continue
        node = case.model.graph.node[0]
        if node.domain or f"onnx.{node.op_type}" not in RULES:
            continue
        inputs, outputs = ([_array(v) for v in values] for values in case.data_sets[0])
        if any(v is None or v.dtype.kind in "OUSc" for v in (*inputs, *outputs)):
            continue
        try:
            named = dict(zip(dict.fromkeys(n for n in node.input if n), inputs, strict=True))
            yield case.name, node_case(case.name, node, named, outputs, case.rtol, case.atol)
        except Exception as error:  # every case is judged by itself
            yield case.name, error


def _array(value: object) -> np.ndarray | None:
    if isinstance(value, onnx_package.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None


def node_case(
    name: str,
    node: onnx_package.NodeProto,
    inputs: Mapping[str, np.ndarray],
    outputs: Sequence[np.ndarray],
    rtol: float = 1e-3,
    atol: float = 1e-7,
) -> Case:
    """The case of an ONNX node."""
    operands = [inputs[n] if n else None for n in node.input]
    attributes = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        value = numpy_helper.to_array(value) if attribute.type == attribute.TENSOR else value
        attributes[attribute.name] = value.decode() if isinstance(value, bytes) else value
    produced = iter(outputs)
    types = [tensor((o := next(produced)).dtype, o.shape) if n else None for n in node.output]
    return op_case(name, node.op_type, operands, outputs, attributes, types, rtol, atol)


def op_case(
    name: str,
    op_type: str,
    operands: Sequence[np.ndarray | None],
    outputs: Sequence[np.ndarray],
    attributes: Mapping[str, object],
    types: Sequence[object] | None = None,
    rtol: float = 1e-3,
    atol: float = 1e-7,
) -> Case:
    """The case of an op; what its lowering reads at compile time is constant, the rest are free values."""
    rule = RULES[f"onnx.{op_type}"]
    values: list[SSAValue | None] = []
    by_value: dict[SSAValue, np.ndarray] = {}
    for index, array in enumerate(operands):
        if array is None:
            values.append(None)
        elif index in rule.value_operands:
            values.append(onnx.Constant.make(value=array).out)
        else:
            values.append(AnyOp(result_types=[tensor(array.dtype, array.shape)]).results[0])
            by_value[values[-1]] = array
    types = types or [tensor(o.dtype, o.shape) for o in outputs]
    op = onnx.OPS[op_type].make(*values, result_types=types, **attributes)
    workload = Workload.of(op)
    return Case(
        name, op, workload, [by_value[operand.source] for operand in workload.operands], list(outputs), rtol, atol
    )


def function(workload: Workload) -> tirx.PrimFunc:
    """The unscheduled code of a workload."""
    inputs = placeholders(workload)
    return prim_func(workload, inputs, lower_body(workload, dict(zip(workload.inputs, inputs, strict=True))))


def outcomes(cases: Sequence[Case]) -> dict[str, str]:
    """What became of each case: "ok", "unsupported: ..." or what went wrong."""
    found: dict[str, str] = {}
    ready: dict[str, tuple[Case, tirx.PrimFunc]] = {}
    for case in cases:
        try:
            ready[case.name] = case, function(case.workload)
        except UnsupportedOpError as error:
            found[case.name] = f"unsupported: {error.why}"
    names = list(ready)
    for start in range(0, len(names), CHUNK):
        part = names[start : start + CHUNK]
        library = compiled_library({n: ready[n][1] for n in part}, BACKEND)
        found |= {n: judge(ready[n][0], library[n]) for n in part}
    return found


def call(entry: tvm.runtime.Function, case: Case) -> list[np.ndarray]:
    """Runs one case."""
    arguments = [tvm.runtime.tensor(stored(np.asarray(a, order="C"))) for a in case.inputs]
    results = [tvm.runtime.tensor(stored(np.full(e.shape, 77).astype(e.dtype))) for e in case.expected]
    entry(*arguments, *results)
    return [r.numpy() for r in results]


def judge(case: Case, entry: tvm.runtime.Function) -> str:
    """Runs a case and compares its results with what was expected."""
    try:
        results = call(entry, case)
        for result, expected in zip(results, case.expected, strict=True):
            result, expected = computed(result.view(expected.dtype)), computed(expected)
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(result, expected, rtol=case.rtol, atol=case.atol)
            else:
                np.testing.assert_array_equal(result, expected)
    except (AssertionError, ValueError) as error:  # of the tolerance, of the shapes
        return "wrong: " + " ".join(str(error).split())[:300]
    return "ok"
